"""A trajectory in a notebook: small, complete, and without anything that reaches the rest of the notebook."""

from __future__ import annotations

import numpy as np

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.viewer.notebook import media_html, trajectory_html

NOISE = Picture(np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8))


def asked(*turns: Turn, media=(NOISE,), answer: str | None = "K", stop=StopReason.ANSWER) -> str:
    return trajectory_html(Trajectory(Task("q", "Which <letter>?", media, ()), turns, stop, answer))


def crop(box: Box, source: int = 1) -> Turn:
    seen = Observation("Image 2:", (NOISE.crop(0, 0, 30, 20),), box=box, source=source)
    return Turn("<tool_call>{}</tool_call>Zoom.", ToolCall("crop_image", {"target_image": source}), seen)


def test_it_shows_question_turns_results_and_answer_in_order():
    html = asked(crop(Box(0, 0, 300, 225)), Turn("It reads K."))
    words = (
        "Which &lt;letter&gt;?",
        "Zoom.",
        "crop_image(target_image=1)",
        "Image 2:",
        "It reads K.",
        "<b>K</b>",
    )
    places = [html.index(word) for word in words]
    assert places == sorted(places)
    assert "tool_call" not in html


def test_the_place_of_a_crop_is_marked_in_its_picture():
    html = asked(crop(Box(0, 0, 300, 225)), crop(Box(600, 450, 1200, 900)))
    assert "left: 0.0%; top: 0.0%; width: 25.0%; height: 25.0%" in html
    assert "left: 50.0%; top: 50.0%; width: 50.0%; height: 50.0%" in html
    # A crop of a crop is not marked: its numbers are those of another picture.
    assert "25.0%" not in asked(crop(Box(0, 0, 300, 225), source=2))


def test_what_went_wrong_is_said():
    failed = Turn("x", ToolCall("crop_image", {}), Observation("no such image", valid=False))
    html = asked(failed, answer=None, stop=StopReason.TURN_LIMIT)
    assert "✗ no such image" in html
    assert "none given" in html
    assert "stopped by turn limit" in html


def test_it_is_small_and_changes_nothing_around_it():
    html = asked(Turn("K"))
    # Noise compresses worst; the picture itself has 3.2 MB.
    assert len(html) < 100_000
    assert "<style" not in html
    assert "<script" not in html
    assert len(media_html(Video((NOISE,) * 16))) < 200_000
