"""The oracle's sentences, all of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.outline import Move, Outline, Step
from pixelreasoner.synth.teacher import OracleTeacher, TeacherConfig, build_teacher

PICTURE = Picture(np.zeros((4, 4, 3), np.uint8))


def task(*, needs: bool | None = True, video: bool = False) -> Task:
    media = Video((PICTURE,)) if video else PICTURE
    return Task("t", "Q?", (media,), ("K",), needs_operation=needs, subject="the red card")


def written(about: Task, *moves: Move) -> list[tuple[str, ...]]:
    """The texts of 60 draws: before each operation, then the conclusion."""
    steps = tuple(Step(move, ToolCall("crop_image"), Observation("")) for move in moves)
    outline, rng = Outline(about, Template.SINGLE_PASS, steps), np.random.default_rng(0)
    made = [asyncio.run(OracleTeacher().write(outline, rng)) for _ in range(60)]
    return [(*texts.before, texts.conclusion) for texts in made]


def joined(first: set[str], second: set[str]) -> set[str]:
    return {f"{a} {b}" for a in first for b in second}


ZOOM = {"Zoom in on the red card.", "Look closer at the red card."}
SMALL = {"The red card is too small to read.", "The red card is small."}


@pytest.mark.parametrize("needs", [True, None])
def test_before_a_crop(needs):
    assert {texts[0] for texts in written(task(needs=needs), Move.RIGHT)} == joined(SMALL, ZOOM)


def test_what_the_full_image_shows_well_is_not_called_small():
    opening = {"I look closer at the red card.", "The red card is here."}
    assert {texts[0] for texts in written(task(needs=False), Move.RIGHT)} == joined(opening, ZOOM)


def test_before_a_selection():
    select = {"I select the frames with the red card.", "Look at the frames with the red card."}
    assert {texts[0] for texts in written(task(video=True), Move.RIGHT)} == joined(SMALL, select)


def test_after_an_operation_that_missed_and_one_that_showed_too_much():
    missed = {"The red card is not here.", "The red card is not here. Look again."}
    assert {texts[1] for texts in written(task(), Move.WRONG, Move.RIGHT)} == joined(missed, ZOOM)
    large = {"The red card is here.", "The red card is too small to read."}
    assert {texts[1] for texts in written(task(), Move.TOO_LARGE, Move.RIGHT)} == joined(large, ZOOM)


def test_the_conclusion_is_the_claim_of_the_task():
    claimed = replace(task(), claim="The red card reads K.")
    assert {texts[-1] for texts in written(claimed)} == {"The red card reads K. \\boxed{K}"}
    assert {texts[-1] for texts in written(task())} == {"The answer is K. \\boxed{K}"}


def test_teachers_by_name():
    assert isinstance(build_teacher(TeacherConfig()), OracleTeacher)
    with pytest.raises(ConfigError, match="no teacher 'professor'"):
        build_teacher(TeacherConfig(use="professor"))
    with pytest.raises(ConfigError, match="cannot be called with the options"):
        build_teacher(TeacherConfig(options={"patience": 3}))
