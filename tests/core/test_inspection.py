"""Where operations looked: chains of crops, frames of a video, and what cannot be traced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.inspection import InspectedRegion, inspected_regions
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn

PICTURE = Picture(np.zeros((60, 80, 3), np.uint8))
VIDEO = Video((PICTURE,) * 4)


def recorded(*observations: Observation, media: tuple[Picture | Video, ...] = (PICTURE,)) -> Trajectory:
    """A message for each observation, and the answer."""
    turns = tuple(Turn("words", observation=o) for o in observations)
    return Trajectory(Task("t", "Q?", media, ("A",)), (*turns, Turn("answer")), StopReason.ANSWER)


def crop(*corners: float, source: int = 1) -> Observation:
    return Observation("ok", (PICTURE,), box=Box(*corners), source=source)


def test_a_crop_of_a_crop_is_followed_to_the_picture():
    # Image 2 starts at (10, 20) of image 1, image 3 at (5, 6) of image 2, image 4 at (1, 2) of image 3.
    chain = recorded(crop(10, 20, 50, 60), crop(5, 6, 25, 26, source=2), crop(1, 2, 4, 5, source=3))
    assert inspected_regions(chain) == (
        InspectedRegion(1, Box(10, 20, 50, 60)),
        InspectedRegion(1, Box(15, 26, 35, 46)),
        InspectedRegion(1, Box(16, 28, 19, 31)),
        None,
    )


def test_a_crop_of_a_selected_frame_keeps_its_frame():
    # The video has no number: the two frames are images 1 and 2.
    selected = Observation("ok", (PICTURE, PICTURE), frames=(3, 2))
    assert inspected_regions(recorded(selected, crop(0, 0, 8, 8, source=2), media=(VIDEO,))) == (
        InspectedRegion(1, frames=(3, 2)),
        InspectedRegion(1, Box(0, 0, 8, 8), (2,)),
        None,
    )


def test_pictures_are_numbered_apart_from_videos():
    assert inspected_regions(recorded(crop(0, 0, 8, 8), media=(VIDEO, PICTURE))) == (
        InspectedRegion(2, Box(0, 0, 8, 8)),
        None,
    )


def test_a_result_that_did_not_fit_showed_nothing():
    cut_off = recorded(crop(0, 0, 8, 8), crop(8, 8, 16, 16))
    cut_off = replace(cut_off, turns=cut_off.turns[:-1], stop=StopReason.IMAGE_LIMIT)
    assert inspected_regions(cut_off) == (InspectedRegion(1, Box(0, 0, 8, 8)), None)


def test_failed_and_unknown_operations_looked_nowhere_known():
    failed = Observation("no such image", valid=False)
    flipped = Observation("ok", (PICTURE,))
    # Image 2 is the flipped picture: a box in it says nothing about the picture.
    assert inspected_regions(recorded(failed, flipped, crop(0, 0, 8, 8, source=2))) == (None,) * 4


@pytest.mark.parametrize(
    ("look", "cue", "coverage"),
    [
        (InspectedRegion(1, Box(0, 0, 10, 10)), Cue(Box(5, 0, 15, 10)), 0.5),
        (InspectedRegion(1, Box(0, 0, 10, 10)), Cue(Box(10, 0, 20, 10)), 0.0),
        (InspectedRegion(1), Cue(Box(5, 0, 15, 10)), 1.0),
        (InspectedRegion(2), Cue(Box(5, 0, 15, 10)), 0.0),
        (InspectedRegion(1, frames=(1, 2)), Cue(Box(0, 0, 4, 4), frames=(2, 3)), 1.0),
        (InspectedRegion(1, frames=(1, 4)), Cue(Box(0, 0, 4, 4), frames=(2, 3)), 0.0),
        (InspectedRegion(1, Box(0, 0, 2, 4), frames=(2,)), Cue(Box(0, 0, 4, 4), frames=(2, 3)), 0.5),
    ],
)
def test_coverage(look: InspectedRegion, cue: Cue, coverage: float):
    assert look.coverage_of(cue) == coverage
