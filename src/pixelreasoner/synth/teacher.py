"""Who writes the sentences of a synthesised trajectory.

The template decides what happens (paper, section 4.1): look at the whole input, operate on the cue, look at
what came back, answer. By the time a teacher is asked, the operations have been carried out; it words them,
in one asynchronous call for the whole trajectory. The words before a call should end with the thing it is
about: a small model that has just said "the red card" finds its coordinates more easily.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from pydantic import Field

from pixelreasoner.core.config import Config, Options
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.media import Video
from pixelreasoner.core.registry import Registry, check_call
from pixelreasoner.core.task import Task
from pixelreasoner.synth.outline import Move, Outline

TEACHERS = Registry("teacher", {"oracle": "pixelreasoner.synth.teacher:OracleTeacher"})


@dataclass(frozen=True)
class TrajectoryTexts:
    """All that a teacher writes about one trajectory."""

    before: tuple[str, ...]
    """For each operation, what the message says before its call."""
    conclusion: str
    r"""The last message, with the answer within \boxed{}."""


class Teacher(Protocol):
    """Words the steps of an outline; draws everything random from `rng`."""

    async def write(self, outline: Outline, rng: np.random.Generator) -> TrajectoryTexts:
        """The texts of one trajectory."""
        ...


class TeacherConfig(Config):
    """Which teacher, and with what options."""

    use: str = "oracle"
    """A registered name, or package.module:object."""
    options: Options = Field(default_factory=dict[str, Any])
    """Arguments of the teacher."""


def build_teacher(config: TeacherConfig) -> Teacher:
    """The teacher of a recipe.

    Raises:
        ConfigError: there is none of that name, or it does not take its options.
    """
    kind: Callable[..., Teacher] = TEACHERS.find(config.use)
    check_call(f"teacher '{config.use}'", kind, **config.options)
    return kind(**config.options)


class OracleTeacher:
    """Short sentences, few ways to say a thing: for worlds that know the answer, and small models.

    The kinds share their words, so that what is learned about one helps the others. A direct answer is the
    same sentence as an answer after an operation: the task's own claim, where it has one.
    """

    async def write(self, outline: Outline, rng: np.random.Generator) -> TrajectoryTexts:
        """As `Teacher.write`.

        Raises:
            ConfigError: the task has no reference answer, or no subject to write about.
        """
        task, before = outline.task, []
        last: Move | None = None
        for step in outline.steps:
            before.append(f"{_opening(task, last, rng)} {_announcement(task, rng)}")
            last = step.move
        return TrajectoryTexts(tuple(before), _conclusion(task))


def _opening(task: Task, last: Move | None, rng: np.random.Generator) -> str:
    """What a message says about what was last seen: the whole input, or what the last operation showed."""
    start = _start(task)
    match last:
        case Move.WRONG:
            return _pick(rng, f"{start} is not here.", f"{start} is not here. Look again.")
        case Move.TOO_LARGE:
            return _pick(rng, f"{start} is here.", f"{start} is too small to read.")
        case _ if task.needs_operation is False:
            return _pick(rng, f"I look closer at {_subject(task)}.", f"{start} is here.")
        case _:
            return _pick(rng, f"{start} is too small to read.", f"{start} is small.")


def _announcement(task: Task, rng: np.random.Generator) -> str:
    subject = _subject(task)
    if any(isinstance(item, Video) for item in task.media):
        return _pick(rng, f"I select the frames with {subject}.", f"Look at the frames with {subject}.")
    return _pick(rng, f"Zoom in on {subject}.", f"Look closer at {subject}.")


def _conclusion(task: Task) -> str:
    if not task.answers:
        raise ConfigError(f"task {task.id!r} has no reference answer for a teacher to give")
    answer = task.answers[0]
    return f"{task.claim or f'The answer is {answer}.'} \\boxed{{{answer}}}"


def _pick(rng: np.random.Generator, *sentences: str) -> str:
    return sentences[int(rng.integers(len(sentences)))]


def _subject(task: Task) -> str:
    if not task.subject:
        raise ConfigError(f"task {task.id!r} has no subject for a teacher to write about; set Task.subject")
    return task.subject


def _start(task: Task) -> str:
    """The subject at the start of a sentence."""
    subject = _subject(task)
    return subject[0].upper() + subject[1:]
