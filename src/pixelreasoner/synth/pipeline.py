"""From a slot to its trajectory: the stages, task after task of the slot's chain.

What a slot gives depends on the recipe, its number and the replies of the servers, and on nothing else: not
on other slots, on the order in which they are made, or on how often the run was interrupted. ::

    task -> question -> outline -> words -> composed -> verified -> Made
      \\________ turned down by any stage: a Rejection, and the next task ________/
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.checkpoint_files import vision_spec
from pixelreasoner.chat.families import Family, family_of
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.rewards.scorers import Scorer, build_scorer
from pixelreasoner.synth.compose import compose, verify
from pixelreasoner.synth.config import SynthConfig, build_seeds
from pixelreasoner.synth.made import Made, Rejection
from pixelreasoner.synth.outline import Outline, Tools, outline
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.rejection import RejectedError, Stage
from pixelreasoner.synth.slots import Seeds, Slot
from pixelreasoner.synth.teacher import Teacher, TrajectoryTexts, build_teacher
from pixelreasoner.tasks.source import TaskSource

T = TypeVar("T")
REGIONS, WORDS = range(2)
"""Streams of random numbers; each stage draws from one of its own."""


class Workplace(Protocol):
    """Where a slot is made: what does the work of the processor, and how much may be under way."""

    async def read(self, function: Callable[[], T]) -> T:
        """The result of a function that reads from the disk; one at a time."""
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


class Pipeline:
    """Makes any one slot of a recipe."""

    def __init__(self, config: SynthConfig, place: Workplace | None = None) -> None:
        """A pipeline; nothing is read yet."""
        self.config = config
        self._place = place or InPlace()
        self._selected: dict[tuple[int, str, bool | None], TaskSource] = {}

    async def make(self, number: int, slot: Slot) -> Made:
        """What slot `number`, which is what `slot` says, comes to.

        Raises:
            PixelReasonerError: something is wrong with the recipe, the checkpoint or a task file.
        """
        rejections: list[Rejection] = []
        tools, source = self._tools, self._source(slot)
        for attempt, index in enumerate(slot.chain(self.config.tries)):
            task = await self._place.read(lambda at=index: next(islice(source.take(at, 1), 1), None))
            if task is None:
                break
            draft = _Draft(number, slot, attempt, task)
            async with self._place.room(task):
                try:
                    trajectory = await self._trajectory(draft, tools)
                except RejectedError as e:
                    rejections.append(Rejection.of(e, index, task.id, self._so_far(draft)))
                else:
                    return Made(number, trajectory, tuple(rejections))
        return Made(number, None, tuple(rejections))

    async def _trajectory(self, draft: _Draft, tools: Tools) -> Trajectory:
        """The trajectory of a task.

        Raises:
            RejectedError: a stage turns it down.
        """
        draft.outline = await self._stage(draft, "outline", lambda: self._outlined(draft, tools))
        self._place.enter(draft.number, "write")
        texts = await self._teacher.write(draft.outline, self._rng(draft, WORDS))
        return await self._stage(draft, "compose", lambda: self._composed(draft, texts))

    async def _stage(self, draft: _Draft, stage: Stage, function: Callable[[], T]) -> T:
        self._place.enter(draft.number, stage)
        return await self._place.compute(function)

    def _outlined(self, draft: _Draft, tools: Tools) -> Outline:
        try:
            return outline(draft.task, draft.slot.template, tools, self._rng(draft, REGIONS))
        except SynthesisError as e:
            raise RejectedError("outline", "no room", str(e)) from e

    def _composed(self, draft: _Draft, texts: TrajectoryTexts) -> Trajectory:
        draft.trajectory = self._written(draft, texts)
        if problems := verify(draft.trajectory, self._scorer, self._family.syntax):
            raise RejectedError("compose", "not what its template says", "; ".join(problems))
        return draft.trajectory

    def _written(self, draft: _Draft, texts: TrajectoryTexts) -> Trajectory:
        assert draft.outline is not None
        syntax, coordinates = self._family.syntax, self._tools.vision.coordinates
        return compose(draft.outline, texts, syntax, coordinates, mask=self.config.error_mask)

    def _so_far(self, draft: _Draft) -> Trajectory | None:
        """What there is of a trajectory: without its words where there are none yet."""
        if draft.trajectory is not None or draft.outline is None or not draft.outline.steps:
            return draft.trajectory
        return self._written(draft, TrajectoryTexts(("",) * len(draft.outline.steps), ""))

    def _rng(self, draft: _Draft, stream: int) -> np.random.Generator:
        attempt = (draft.attempt,) if draft.attempt else ()
        return np.random.default_rng([self.config.seed, draft.number, stream, *attempt])

    def _source(self, slot: Slot) -> TaskSource:
        key = slot.source, slot.kind, slot.needs_operation
        if key not in self._selected:
            tasks = self._seeds[slot.source].tasks
            self._selected[key] = tasks.select(kind=slot.kind, needs_operation=slot.needs_operation)
        return self._selected[key]

    @cached_property
    def _seeds(self) -> tuple[Seeds, ...]:
        return build_seeds(self.config)

    @cached_property
    def _teacher(self) -> Teacher:
        return build_teacher(self.config.teacher)

    @cached_property
    def _scorer(self) -> Scorer:
        return build_scorer(self.config.scoring)

    @cached_property
    def _family(self) -> Family:
        return family_of(checkpoint_folder(self.config.checkpoint))

    @cached_property
    def _tools(self) -> Tools:
        folder = checkpoint_folder(self.config.checkpoint)
        interaction = self.config.interaction
        chat_format = ChatFormat.load(folder).with_wording(interaction.wording)
        vision = vision_spec(folder, self._family, chat_format)
        return Tools.of(vision, self.config.coordinate_step, interaction.toolbox(vision.unit, chat_format))
