"""How well operations find the cue: coverage, IoU, and crops of everything, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.inspection import InspectedRegion
from pixelreasoner.core.localisation import Localisation, crop_shares, localise
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn

PICTURE = Picture(np.zeros((100, 200, 3), np.uint8))
"""200 x 100."""
CUE = Cue(Box(100, 50, 120, 70))


def recorded(*observations: Observation, cue: Cue | None = CUE, media=(PICTURE,)) -> Trajectory:
    turns = (*(Turn("words", observation=o) for o in observations), Turn("answer"))
    return Trajectory(Task("t", "Q?", media, ("A",), cue=cue), turns, StopReason.ANSWER)


def crop(*corners: float, source: int = 1) -> Observation:
    x1, y1, x2, y2 = map(int, corners)
    return Observation(
        "ok", (Picture(np.zeros((y2 - y1, x2 - x1, 3), np.uint8)),), box=Box(*corners), source=source
    )


def test_the_whole_image_is_a_hit_of_little_iou():
    found = localise(recorded(crop(0, 0, 200, 100)))
    assert (found.cue_coverage, found.whole_image_crops) == (1.0, 1.0)
    assert found.cue_iou == pytest.approx(400 / 20000)
    exact = localise(recorded(crop(100, 50, 120, 70)))
    assert (exact.cue_coverage, exact.cue_iou, exact.whole_image_crops) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(("width", "whole"), [(180, 1), (179, 0)])
def test_nine_tenths_of_the_image_are_the_whole_of_it(width, whole):
    assert localise(recorded(crop(0, 0, width, 100), cue=None)).n_whole == whole


def test_a_crop_is_measured_by_the_image_it_was_asked_from():
    """Image 2 is 60 x 40: all of it again shows nothing closer, though it is an eighth of the picture."""
    chain = recorded(crop(80, 40, 140, 80), crop(0, 0, 60, 40, source=2), crop(20, 10, 40, 30, source=2))
    assert crop_shares(chain) == pytest.approx([0.12, 1.0, 400 / 2400])
    found = localise(chain)
    assert (found.n_crops, found.n_whole) == (3, 1)
    # In the picture: 60 x 40 twice, then [100, 50, 120, 70], the cue itself.
    assert found.cue_iou == pytest.approx((400 / 2400 + 400 / 2400 + 1.0) / 3)


def test_what_was_not_read_or_not_valid_is_not_counted():
    cut_off = Trajectory(
        recorded().task, (Turn("words", observation=crop(0, 0, 9, 9)),), StopReason.IMAGE_LIMIT
    )
    failed = recorded(Observation("no such image", valid=False))
    assert localise(cut_off) == localise(failed) == Localisation()


@pytest.mark.parametrize(
    ("region", "cue", "iou"),
    [
        (InspectedRegion(1, Box(0, 0, 10, 10)), Cue(Box(5, 0, 15, 10)), 50 / 150),
        (InspectedRegion(2, Box(0, 0, 10, 10)), Cue(Box(0, 0, 10, 10)), 0.0),
        (InspectedRegion(1, Box(0, 0, 4, 4), frames=(1,)), Cue(Box(0, 0, 4, 4), frames=(2,)), 0.0),
        (InspectedRegion(1, Box(0, 0, 4, 4), frames=(2,)), Cue(Box(0, 0, 4, 4), frames=(2, 3)), 1.0),
        (InspectedRegion(1, frames=(2,)), Cue(Box(0, 0, 4, 4), frames=(2,)), None),
        (InspectedRegion(1, Box(0, 0, 4, 4)), Cue(None, frames=(2,)), None),
    ],
)
def test_iou(region: InspectedRegion, cue: Cue, iou: float | None):
    assert region.iou_with(cue) == (None if iou is None else pytest.approx(iou))


def test_frames_have_no_share():
    video = Video((PICTURE,) * 4)
    selected = Observation("ok", (PICTURE, PICTURE), frames=(1, 3))
    found = localise(recorded(selected, cue=Cue(CUE.box, frames=(3,)), media=(video,)))
    assert (found.cue_coverage, found.cue_iou, found.whole_image_crops) == (1.0, None, None)


def test_counts_add_up():
    one, two = localise(recorded(crop(0, 0, 200, 100))), localise(recorded(crop(0, 0, 10, 10)))
    both = Localisation.total([one, two])
    assert (both.n_inspected, both.cue_coverage, both.whole_image_crops) == (2, 0.5, 0.5)
    assert Localisation.total([]) == Localisation()
