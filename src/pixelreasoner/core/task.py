"""A question about images or a video, with what is known about its answer."""

from __future__ import annotations

from dataclasses import dataclass

from pixelreasoner.core.display import quoted
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Media


@dataclass(frozen=True)
class Cue:
    """Where the visual evidence for a task lies: a box in an image, or frames of a video."""

    box: Box | None = None
    """In pixels of the media item `target`; for a video, the box within the cue frames."""
    frames: tuple[int, ...] = ()
    """1-based indices of the frames that hold the evidence; empty for an image."""
    target: int = 1
    """1-based index of the media item in `Task.media`."""
    boxes: tuple[Box, ...] = ()
    """Of the single things, in pixels, where there are several; `box` is then the one around all of them.

    Of a seed (`Task.is_seed`): the candidates for a region to ask about, the most promising first, and `box`
    is None, since nobody has chosen yet."""


@dataclass(frozen=True)
class Task:
    """One question. Immutable; everything that happens to it is a `Trajectory`.

    A **seed** is a task whose question is still to be written: media, and where known candidates for the
    region to ask about. It has no answers, options, subject or claim either. Synthesis makes a task of it;
    everything else needs questions, and `tasks.config.build_tasks` refuses seeds to it.
    """

    id: str
    question: str
    """Empty in a seed."""
    media: tuple[Media, ...]
    answers: tuple[str, ...]
    """Acceptable answers, without markup; empty when unknown (a user's own question)."""
    kind: str = "open"
    """What is asked: a PixelWorld kind or a benchmark's name. Tables are broken down by it."""
    cue: Cue | None = None
    needs_operation: bool | None = None
    """Whether the full image is not enough; None when nobody knows."""
    split: str = "test"
    subject: str = ""
    """What the question is about ("the red card"), for a teacher that writes about it."""
    scorer: str = ""
    """Which scorer judges an answer (`rewards.scorers`); empty takes the recipe's."""
    claim: str = ""
    """The answer in a sentence ("The red card reads K."), for the same teacher."""
    options: tuple[str, ...] = ()
    """What may be chosen, without letters; the question lists them as A, B, C and so on. `answers` then holds
    letters. Empty for an open question."""

    @property
    def is_seed(self) -> bool:
        """Whether the question is still to be written."""
        return not self.question

    def __repr__(self) -> str:
        answers = f", answers {', '.join(map(quoted, self.answers))}" if self.answers else ""
        media = "".join(f", {item!r}" for item in self.media[:3]) + (", …" if len(self.media) > 3 else "")
        return f"Task({self.id!r}, {quoted(self.question)}{media}{answers})"
