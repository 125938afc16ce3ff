"""Rules of the box-mapping check: the declared reading wins where it is right, else a warning names one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.evals.box_mapping import box_mapping, box_readings

IMAGE = Picture(np.zeros((500, 2000, 3), np.uint8))
CUE = Box(400, 100, 600, 200)
"""200 to 300 thousandths of the width, 200 to 400 of the height."""
TASK = Task("t", "?", (IMAGE,), ("K",), cue=Cue(CUE))
FAILED = Observation("no such place", valid=False)


def boxed(numbers: object, shown: Observation, *, target: object = 1, task: Task = TASK) -> Trajectory:
    call = ToolCall("crop_image", {"bbox_2d": numbers, "target_image": target})
    return Trajectory(task, (Turn("look", call=call, observation=shown), Turn("K")), StopReason.ANSWER)


def cut(*corners: float, source: int = 1) -> Observation:
    return Observation("", (IMAGE,), box=Box(*corners), source=source)


def test_each_reading_is_compared_with_the_cue():
    (found,) = box_readings(boxed([200, 200, 300, 400], cut(400, 100, 600, 200)))
    # As pixels it is [200, 200, 300, 400], apart from the cue; as fractions it is beyond the image.
    assert found.iou == {"declared": 1.0, "pixels": 0.0, "fractions": 0.0, "thousandths": 1.0}
    assert found.hit == {"declared": True, "pixels": False, "fractions": False, "thousandths": True}
    (half,) = box_readings(boxed([0.2, 0.2, 0.25, 0.4], cut(400, 100, 500, 200)))
    assert (half.iou["declared"], half.iou["fractions"]) == (0.5, pytest.approx(0.5))


def test_a_refused_box_shows_nothing_as_declared():
    (found,) = box_readings(boxed([400, 100, 600, 200], FAILED))
    assert (found.iou["declared"], found.iou["pixels"]) == (0.0, 1.0)


@pytest.mark.parametrize("numbers", ["no", [1, 2, 3], [1, 2, 3, "4"], [True, 1, 2, 3], None, [1e30, 0, 1, 1]])
def test_what_is_no_box_is_left_out(numbers):
    assert list(box_readings(boxed(numbers, FAILED))) == []


def test_only_boxes_of_the_cues_own_picture_count():
    numbers = [400, 100, 600, 200]
    assert list(box_readings(boxed(numbers, cut(0, 0, 9, 9, source=2), target=2))) == []
    no_box = Task("t", "?", (IMAGE,), ("K",), cue=Cue())
    assert list(box_readings(boxed(numbers, FAILED, task=no_box))) == []
    second = Task("t", "?", (Picture(np.ones((9, 9, 3), np.uint8)), IMAGE), ("K",), cue=Cue(CUE, target=2))
    assert len(list(box_readings(boxed(numbers, cut(0, 0, 9, 9, source=2), target=2, task=second)))) == 1


def test_the_right_unit_is_not_warned_of():
    found = box_mapping(list(box_readings(boxed([200, 200, 300, 400], cut(400, 100, 600, 200)))) * 20)
    assert found is not None
    assert (found["n"], found["better"]) == (20, None)
    assert found["iou"]["declared"] == {"mean": 1.0, "interval95": [1.0, 1.0]}


def test_another_unit_that_fits_better_is_named_given_enough_boxes():
    # Thousandths were written; the run read them as pixels.
    readings = list(box_readings(boxed([200, 200, 300, 400], cut(200, 200, 300, 400))))
    found, few = box_mapping(readings * 10), box_mapping(readings * 9)
    assert found is not None
    assert few is not None
    assert (found["better"], few["better"]) == ("thousandths", None)


def test_a_box_that_is_padded_on_purpose_is_not_warned_of():
    # 0.1 of the image on each side: less IoU than the numbers alone, and the cue is in view all the same.
    readings = list(box_readings(boxed([400, 100, 600, 200], cut(200, 50, 800, 250))))
    found = box_mapping(readings * 20)
    assert found is not None
    assert found["iou"]["pixels"]["mean"] > found["iou"]["declared"]["mean"]
    assert found["better"] is None
    assert box_mapping([]) is None


def test_the_runs_own_unit_is_no_other_reading():
    """Some boxes in thousandths were refused; read in thousandths they would show the cue."""
    asked = [200, 200, 300, 400]
    both = [boxed(asked, FAILED), boxed(asked, cut(400, 100, 600, 200))] * 10
    found = {
        unit: box_mapping([r for t in both for r in box_readings(replace(t, coordinates=unit))])
        for unit in ("relative", "pixel of something")
    }
    assert [mapping and mapping["better"] for mapping in found.values()] == [None, "thousandths"]
