"""How long the prompts of a run are: the real ones about its first tasks, built, counted and never sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Video
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.endpoint.asker import Asker
from pixelreasoner.endpoint.estimates import PromptEstimate
from pixelreasoner.endpoint.requests import ChatRequest
from pixelreasoner.rewards.scorers import build_scorer
from pixelreasoner.synth.chat_teacher import ChatTeacher
from pixelreasoner.synth.compose import compose
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.difficulty import Student
from pixelreasoner.synth.fit import with_cue
from pixelreasoner.synth.judging import CropJudge
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.outline import outline
from pixelreasoner.synth.propose import Proposer
from pixelreasoner.synth.readable import readable
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.rejection import RejectedError
from pixelreasoner.synth.slots import Seeds, Slot
from pixelreasoner.synth.taught import Taught
from pixelreasoner.synth.teacher import TrajectoryTexts

M = TypeVar("M", bound=BaseModel)
SAMPLED = 3
"""Tasks of each kind of slot whose prompts are built."""
LOOKED_AT = 20
"""Tasks that are looked at for them: a template does not fit all."""
A_QUESTION = "Which of these words is written on the sign?\nA. first\nB. second\nC. third\nD. fourth"
"""Stands for the question of a seed that has none yet."""
CUE_SIDE = 0.15
"""Of the place that stands for the teacher's choice, as a share of the picture's sides."""


class _NotSent(Exception):
    """A request that was built."""

    def __init__(self, request: ChatRequest) -> None:
        super().__init__(request.purpose)
        self.request = request


class _Builds(Asker):
    """An asker that hands its first request back."""

    def __init__(self) -> None:
        pass

    async def text(self, request: ChatRequest) -> str:
        raise _NotSent(request)

    async def structured(self, request: ChatRequest, kind: type[M], *, tries: int = 3) -> M:
        raise _NotSent(replace(request, schema=kind))


def prompt_tokens(config: SynthConfig, sets: Sequence[Seeds], taught: Taught, slot: Slot) -> dict[str, float]:
    """The mean tokens of a prompt about the tasks of a slot, by what it is for; nothing is asked.

    Args:
        config: the recipe.
        sets: its seeds.
        taught: the model to be taught.
        slot: its kind, need and template count, its place does not.

    Returns:
        Nothing where the template fits none of the first tasks.
    """
    source = sets[slot.source].tasks.select(kind=slot.kind, needs_operation=slot.needs_operation)
    found: dict[str, list[int]] = {}
    fitting = (_as_asked(task) for task in islice(readable(source), LOOKED_AT))
    kinds = ((task, seed) for task, seed in fitting if _fits(task, slot, taught))
    for task, seed in islice(kinds, SAMPLED):
        for request in _requests(config, taught, task, seed, slot):
            found.setdefault(request.purpose, []).append(PromptEstimate().of(request))
    return {purpose: sum(sizes) / len(sizes) for purpose, sizes in found.items()}


def _as_asked(task: Task) -> tuple[Task, Task | None]:
    """A task with a question, and the seed that it will be made of where it has none."""
    if not task.is_seed:
        return task, None
    asked = replace(task, question=A_QUESTION, answers=("A",), subject="the sign", scorer="choice")
    if task.cue is not None and task.cue.boxes:
        return with_cue(asked, task.cue.boxes[0]), task
    return replace(asked, cue=_a_cue(task)), task


def _a_cue(task: Task) -> Cue:
    """Stands for what the teacher will choose in a seed without candidates: a place in the middle."""
    item = task.media[0]
    if isinstance(item, Video):
        return Cue(frames=((len(item.frames) + 1) // 2,))
    width, height = item.size
    left, top = (side * (1 - CUE_SIDE) / 2 for side in (width, height))
    return Cue(box=Box(left, top, left + CUE_SIDE * width, top + CUE_SIDE * height))


def _fits(task: Task, slot: Slot, taught: Taught) -> bool:
    try:
        outline(task, slot.template, taught.tools, np.random.default_rng(0))
    except (SynthesisError, MediaError):
        return False
    return True


def _requests(
    config: SynthConfig, taught: Taught, task: Task, seed: Task | None, slot: Slot
) -> Iterator[ChatRequest]:
    """The first request of each stage about a task."""
    asker, rng, scorer = _Builds(), np.random.default_rng(0), build_scorer(config.scoring)
    done = outline(task, slot.template, taught.tools, rng)
    stages: list[Callable[[], Coroutine[Any, Any, object]]] = []
    if config.chat_teacher is not None:
        teacher, proposer = ChatTeacher(asker, config.chat_teacher), Proposer(asker, config.chat_teacher)
        if seed is not None:
            stages.append(lambda: proposer.propose(seed, rng))
        if slot.template is not Template.TEXT_ONLY or config.student is None:
            stages.append(lambda: teacher.write(done, rng))
    if config.student is not None:
        student = Student(asker, config.student, taught.tools.vision, taught.chat_format)
        stages.append(lambda: student.difficulty(task, scorer, rng))
    if config.judge is not None and done.steps:
        judge = CropJudge(asker, config.judge)
        texts = TrajectoryTexts(("",) * len(done.steps), "")
        shown = compose(done, texts, taught.syntax, "", mask=config.error_mask)
        stages.append(lambda: judge.check(shown, taught.tools, scorer, rng))
    for stage in stages:
        try:
            asyncio.run(_built(stage()))
        except _NotSent as e:
            yield e.request
        except RejectedError:
            continue  # this one would not be asked about


async def _built(stage: Coroutine[Any, Any, object]) -> None:
    await stage
