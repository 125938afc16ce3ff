"""Records show themselves in one line that a person can read, and in a notebook as a page."""

from __future__ import annotations

import numpy as np

from pixelreasoner.core.display import quoted
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn

PHOTO = Picture(np.zeros((60, 80, 3), np.uint8))
CROP = Picture(np.zeros((5, 4, 3), np.uint8))
SEEN = Observation("Image 2:", (CROP,), box=Box(1, 2, 5, 7))
TASK = Task("t1", "Which letter?", (PHOTO,), ("K",))
TURNS = (
    Turn("Zoom.", ToolCall("crop_image", {}), SEEN),
    Turn("It reads K.", sampled=Segment(tuple(range(900)))),
)


def test_each_record_is_one_short_line():
    assert repr(SEEN) == "Observation(1 image, cut from image 1 at 1, 2 to 5, 7)"
    assert repr(Observation("e", (CROP, CROP), frames=(3, 4))) == "Observation(2 images, frames 3, 4)"
    assert repr(Observation("no such image", valid=False)) == "Observation(failed: 'no such image')"
    assert repr(TURNS[0]) == f"Turn('Zoom.' -> {SEEN!r})"
    assert repr(Segment((1, 2), (PHOTO,))) == "Segment(2 tokens, 1 media item)"
    assert repr(TASK) == "Task('t1', 'Which letter?', Picture(80x60), answers 'K')"
    assert repr(Video((PHOTO,))) == "Video(1 frames of 80x60)"
    done = Trajectory(TASK, TURNS, StopReason.ANSWER, "K", metrics={"correct": 1.0})
    assert repr(done) == "Trajectory('Which letter?', answer 'K', 2 turns, 1 operation, correct=1)"
    cut = Trajectory(TASK, TURNS[:1], StopReason.TURN_LIMIT)
    assert repr(cut) == "Trajectory('Which letter?', no answer, 1 turn, 0 operations, stopped by turn limit)"


def test_no_text_of_a_model_is_longer_than_a_line_or_reaches_the_terminal_raw():
    assert quoted("a\n  b\x1b[31m") == "'a b\\x1b[31m'"
    assert quoted("x" * 61) == "'" + "x" * 59 + "…'"
    assert quoted("x" * 60) == "'" + "x" * 60 + "'"
    assert len(quoted(" " * 10**6 + "x")) < 70
    many = Trajectory(Task("t", "?" * 10**5, (PHOTO,) * 50, ()), TURNS, StopReason.ANSWER, "A" * 10**5)
    assert len(repr(many)) < 250
    assert len(repr(many.task)) < 250


def test_a_notebook_asks_for_a_page():
    page = Trajectory(TASK, TURNS, StopReason.ANSWER, "<K>")._repr_html_()
    assert page is not None
    assert "&lt;K&gt;" in page
    assert page.count("<img") == 2
    for media, n in ((PHOTO, 1), (Video((PHOTO,) * 3), 3)):
        html = media._repr_html_()
        assert html is not None
        assert html.count("<img") == n
