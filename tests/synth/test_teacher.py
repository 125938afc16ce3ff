"""The oracle's sentences, all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.synth.teacher import OracleTeacher

PICTURE = Picture(np.zeros((4, 4, 3), np.uint8))
TEACHER = OracleTeacher()


def task(kind: str = "attribute", *, needs: bool | None = True, video: bool = False) -> Task:
    media = Video((PICTURE,)) if video else PICTURE
    return Task("t", "Q?", (media,), ("K",), kind, needs_operation=needs, subject="the red card")


def said(write: Callable[[Task, np.random.Generator], str], about: Task) -> set[str]:
    """Everything a teacher says in 40 draws."""
    rng = np.random.default_rng(0)
    return {write(about, rng) for _ in range(40)}


def test_every_sentence():
    small = {"The red card is too small to read.", "The red card is small."}
    assert said(TEACHER.analysis, task()) == said(TEACHER.analysis, task(needs=None)) == small
    # What the overview shows well is not called small.
    legible = {"I look closer at the red card.", "The red card is here."}
    assert said(TEACHER.analysis, task(needs=False)) == legible
    assert said(TEACHER.before_operation, task()) == {
        "Zoom in on the red card.",
        "Look closer at the red card.",
    }
    assert said(TEACHER.before_operation, task(video=True)) == {
        "I select the frames with the red card.",
        "Look at the frames with the red card.",
    }
    wrong = {"The red card is not here.", "The red card is not here. Look again."}
    assert said(TEACHER.after_wrong, task()) == wrong
    large = {"The red card is here.", "The red card is too small to read."}
    assert said(TEACHER.after_too_large, task()) == large


def test_the_conclusion_is_the_claim_of_the_task():
    claimed = replace(task(), claim="The red card reads K.")
    assert said(TEACHER.conclusion, claimed) == {"The red card reads K. \\boxed{K}"}
    assert said(TEACHER.conclusion, task()) == {"The answer is K. \\boxed{K}"}
