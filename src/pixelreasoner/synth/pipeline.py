"""From a slot to its trajectory: the stages, task after task of the slot's chain.

What a slot gives depends on the recipe, its number and the replies of the servers, and on nothing else: not
on other slots, on the order in which they are made, or on how often the run was interrupted. ::

    task  propose  outline  ocr  difficulty  write  compose  judge  -> Made
            '-------- turned down by any stage: a Rejection, and the next task
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.rewards.scorers import Scorer, build_scorer
from pixelreasoner.synth.compose import compose, verify
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.fit import fits, with_cue
from pixelreasoner.synth.made import Made, Rejection
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.ocr import NOT_SHOWN, OcrCheck
from pixelreasoner.synth.outline import Outline, outline
from pixelreasoner.synth.readable import damaged_tasks
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.rejection import RejectedError, Stage
from pixelreasoner.synth.seed_reader import SeedReader
from pixelreasoner.synth.servers import Servers
from pixelreasoner.synth.slots import Seeds, Slot
from pixelreasoner.synth.taught import Taught
from pixelreasoner.synth.teacher import Teacher, TrajectoryTexts, build_teacher

T = TypeVar("T")
REGIONS, WORDS, QUESTIONS, SAMPLES, SWAPS = range(5)
"""Streams of random numbers: each stage draws from one of its own."""
MOST_UNFIT = 20
"""Tasks that are looked at for each one that may be tried: what does not fit a template costs no request."""


class Workplace(Protocol):
    """Where a slot is made: what does the work of the processor, and how much may be under way."""

    async def read(self, function: Callable[[], T]) -> T:
        """The result of a function that reads from the disk, a few at a time."""
        ...

    async def compute(self, function: Callable[[], T]) -> T:
        """The result of a function that takes the processor."""
        ...

    def room(self, task: Task) -> AbstractAsyncContextManager[object]:
        """Waits until there is memory for the pictures of a task, and keeps it for the block."""
        ...

    def enter(self, number: int, stage: Stage) -> None:
        """Slot `number` comes to a stage."""
        ...

    def reject(self, number: int, stage: Stage) -> None:
        """A task of slot `number` is turned down."""
        ...


class InPlace:
    """A workplace for one slot at a time: everything is done at once."""

    async def read(self, function: Callable[[], T]) -> T:
        return function()

    async def compute(self, function: Callable[[], T]) -> T:
        return function()

    def room(self, task: Task) -> AbstractAsyncContextManager[object]:
        return nullcontext()

    def enter(self, number: int, stage: Stage) -> None:
        pass

    def reject(self, number: int, stage: Stage) -> None:
        pass


@dataclass
class _Draft:
    """One task on its way to a trajectory."""

    number: int
    slot: Slot
    attempt: int
    """How many tasks of the slot were rejected before."""
    task: Task
    outline: Outline | None = None
    trajectory: Trajectory | None = None
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    """What the stages found out about it."""


class Pipeline:
    """Makes any one slot of a recipe."""

    def __init__(
        self,
        config: SynthConfig,
        *,
        seeds: Sequence[Seeds] | None = None,
        taught: Taught | None = None,
        servers: Servers | None = None,
        place: Workplace | None = None,
    ) -> None:
        """A pipeline.

        Args:
            config: the recipe.
            seeds: its sets of tasks; None opens them when they are first needed.
            taught: the model to be taught; None reads it when it is first needed.
            servers: those of the recipe; None where it names none.
            place: where the work is done; None for here and now.
        """
        self.config = config
        self._given_taught, self._reader = taught, SeedReader(config, seeds)
        self._servers, self._place = servers or Servers(), place or InPlace()

    async def make(self, number: int, slot: Slot) -> Made:
        """What slot `number`, which is what `slot` says, comes to.

        Raises:
            PixelReasonerError: something is wrong with the recipe, the checkpoint or a task file; or the
                servers refuse all requests, or the budget is spent.
            RequestFailedError: a server gave no reply.
        """
        rejections: list[Rejection] = []
        tried = 0
        for attempt, index in enumerate(slot.chain(MOST_UNFIT * self.config.tries)):
            if tried == self.config.tries:
                break
            try:
                task = await self._place.read(lambda at=index: self._reader.task(slot, at))
            except RejectedError as e:
                self._place.reject(number, e.stage)
                rejections.append(Rejection.of(e, index, "", None))
                continue
            if task is None:
                break
            draft = _Draft(number, slot, attempt, task)
            async with self._place.room(task):
                try:
                    return Made(number, await self._trajectory(draft), tuple(rejections))
                except RejectedError as e:
                    self._place.reject(number, e.stage)
                    tried += e.stage not in ("read", "outline")
                    so_far = None if e.stage == "read" else self._so_far(draft)
                    rejections.append(Rejection.of(e, index, task.id, so_far))
        return Made(number, None, tuple(rejections))

    async def _trajectory(self, draft: _Draft) -> Trajectory:
        """The trajectory of a task.

        Raises:
            RejectedError: a stage turns it down.
        """
        with damaged_tasks(MediaError):
            if draft.task.is_seed:
                draft.task = await self._compute(draft, "outline", lambda: self._with_room(draft))
                draft.task = await self._proposed(draft)
            draft.outline = await self._compute(draft, "outline", lambda: self._outlined(draft))
            if self._ocr is not None and draft.outline.steps and self._ocr.applies_to(draft.task):
                await self._compute(draft, "ocr", lambda: self._read(draft))
            texts = await self._texts(draft)
            draft.trajectory = await self._compute(draft, "compose", lambda: self._composed(draft, texts))
            return await self._judged(draft, draft.trajectory)

    async def _proposed(self, draft: _Draft) -> Task:
        assert self._servers.proposer is not None, "a source of seeds is refused without a teacher"
        self._place.enter(draft.number, "propose")
        return await self._servers.proposer.propose(draft.task, self._rng(draft, QUESTIONS))

    async def _texts(self, draft: _Draft) -> TrajectoryTexts:
        """The words of a trajectory: the teacher's, or, without an operation, the student's own."""
        assert draft.outline is not None
        student = self._servers.student
        if student is not None:
            self._place.enter(draft.number, "difficulty")
            rng = self._rng(draft, SAMPLES)
            if draft.slot.template is Template.TEXT_ONLY:
                return await student.sample_text_only(draft.task, self._scorer, rng)
            draft.metrics |= (await student.checked(draft.task, self._scorer, rng)).metrics
        self._place.enter(draft.number, "write")
        return await self._teacher.write(draft.outline, self._rng(draft, WORDS))

    async def _judged(self, draft: _Draft, trajectory: Trajectory) -> Trajectory:
        """The trajectory, once the judge has let it pass."""
        if self._servers.judge is not None and draft.slot.template is not Template.TEXT_ONLY:
            self._place.enter(draft.number, "judge")
            rng = self._rng(draft, SWAPS)
            await self._servers.judge.check(trajectory, self._taught.tools, self._scorer, rng)
        return trajectory

    async def _compute(self, draft: _Draft, stage: Stage, function: Callable[[], T]) -> T:
        self._place.enter(draft.number, stage)
        return await self._place.compute(function)

    def _with_room(self, draft: _Draft) -> Task:
        """A seed with those of its candidate regions alone that the template fits, before the teacher asks.

        Raises:
            RejectedError: it fits none of them.
        """
        cue, template = draft.task.cue, draft.slot.template
        if cue is None or not cue.boxes or template is Template.TEXT_ONLY:
            return draft.task
        boxes = [box for box in cue.boxes if fits(with_cue(draft.task, box), template, self._taught.tools)]
        if not boxes:
            detail = f"none of {len(cue.boxes)} regions"
            raise RejectedError("outline", "the template does not fit the task", detail)
        return replace(draft.task, cue=replace(cue, boxes=tuple(boxes)))

    def _outlined(self, draft: _Draft) -> Outline:
        try:
            return outline(draft.task, draft.slot.template, self._taught.tools, self._rng(draft, REGIONS))
        except SynthesisError as e:
            raise RejectedError("outline", "the template does not fit the task", str(e)) from e

    def _read(self, draft: _Draft) -> None:
        """Let a task pass whose answer can be read in the crop on the cue, before anybody is asked."""
        assert self._ocr is not None
        assert draft.outline is not None
        shown = draft.outline.steps[-1].observation.images
        faults = [self._ocr.fault(picture, draft.task) for picture in shown]
        if faults and all(faults):
            raise RejectedError("ocr", NOT_SHOWN, faults[0] or "")

    def _composed(self, draft: _Draft, texts: TrajectoryTexts) -> Trajectory:
        draft.trajectory = self._written(draft, texts)
        if problems := verify(draft.trajectory, self._scorer, self._taught.syntax):
            raise RejectedError("compose", "not what its template says", "; ".join(problems))
        return draft.trajectory

    def _written(self, draft: _Draft, texts: TrajectoryTexts) -> Trajectory:
        assert draft.outline is not None
        syntax, coordinates = self._taught.syntax, self._taught.tools.vision.coordinates
        written = compose(draft.outline, texts, syntax, coordinates, mask=self.config.error_mask)
        return replace(written, metrics=draft.metrics) if draft.metrics else written

    def _so_far(self, draft: _Draft) -> Trajectory | None:
        """What there is of a trajectory: without its words where there are none yet."""
        if draft.trajectory is not None or draft.outline is None or not draft.outline.steps:
            return draft.trajectory
        return self._written(draft, TrajectoryTexts(("",) * len(draft.outline.steps), ""))

    def _rng(self, draft: _Draft, stream: int) -> np.random.Generator:
        attempt = (draft.attempt,) if draft.attempt else ()
        return np.random.default_rng([self.config.seed, draft.number, stream, *attempt])

    @cached_property
    def _teacher(self) -> Teacher:
        return self._servers.teacher or build_teacher(self.config.teacher)

    @cached_property
    def _ocr(self) -> OcrCheck | None:
        return None if self.config.ocr is None else OcrCheck(self.config.ocr)

    @cached_property
    def _scorer(self) -> Scorer:
        return build_scorer(self.config.scoring)

    @cached_property
    def _taught(self) -> Taught:
        return self._given_taught or Taught.load(self.config)
