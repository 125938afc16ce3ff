"""Who writes the sentences of a synthesised trajectory.

The template decides what happens (paper, section 4.1): look at the whole input, operate on the cue, look at
what came back, answer. A teacher only words it. The words before a call should end with the thing it is
about: a small model that has just said "the red card" finds its coordinates more easily.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.media import Video
from pixelreasoner.core.task import Task


class Teacher(Protocol):
    """Words the steps of a template; draws everything random from `rng`."""

    def analysis(self, task: Task, rng: np.random.Generator) -> str:
        """What the whole input shows, before the first operation."""
        ...

    def before_operation(self, task: Task, rng: np.random.Generator) -> str:
        """Announces an operation; the call follows."""
        ...

    def after_wrong(self, task: Task, rng: np.random.Generator) -> str:
        """What an operation showed that missed the cue."""
        ...

    def after_too_large(self, task: Task, rng: np.random.Generator) -> str:
        """What a crop showed that holds the cue and far more."""
        ...

    def conclusion(self, task: Task, rng: np.random.Generator) -> str:
        r"""The answer, within \boxed{}."""
        ...


class OracleTeacher:
    """Short sentences, few ways to say a thing: for worlds that know the answer, and small models.

    The kinds share their words, so that what is learned about one helps the others. A direct answer is the
    same sentence as an answer after an operation: the task's own claim, where it has one.
    """

    def analysis(self, task: Task, rng: np.random.Generator) -> str:
        if task.needs_operation is False:
            return _pick(rng, f"I look closer at {_subject(task)}.", f"{_start(task)} is here.")
        return _pick(rng, f"{_start(task)} is too small to read.", f"{_start(task)} is small.")

    def before_operation(self, task: Task, rng: np.random.Generator) -> str:
        subject = _subject(task)
        if any(isinstance(item, Video) for item in task.media):
            return _pick(rng, f"I select the frames with {subject}.", f"Look at the frames with {subject}.")
        return _pick(rng, f"Zoom in on {subject}.", f"Look closer at {subject}.")

    def after_wrong(self, task: Task, rng: np.random.Generator) -> str:
        return _pick(rng, f"{_start(task)} is not here.", f"{_start(task)} is not here. Look again.")

    def after_too_large(self, task: Task, rng: np.random.Generator) -> str:
        return _pick(rng, f"{_start(task)} is here.", f"{_start(task)} is too small to read.")

    def conclusion(self, task: Task, rng: np.random.Generator) -> str:
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
