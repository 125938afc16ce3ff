"""Boxes: every unit says the same region, and no conversion is ever guessed."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pixelreasoner.core.geometry import Box, Size, Unit, around

sizes = st.builds(Size, st.integers(1, 20_000), st.integers(1, 20_000))
shares = st.floats(0, 1)


@st.composite
def boxes_in(draw: st.DrawFn, size: Size) -> Box:
    """A pixel box inside an image of `size`, with a side of at least a hundredth of a pixel."""
    x1, x2 = sorted((draw(shares) * size.width, draw(shares) * size.width))
    y1, y2 = sorted((draw(shares) * size.height, draw(shares) * size.height))
    assume(x2 - x1 > 0.01 and y2 - y1 > 0.01)
    return Box(x1, y1, x2, y2)


@given(st.data(), sizes, st.sampled_from(Unit))
def test_a_box_survives_the_way_to_another_unit_and_back(data: st.DataObject, size: Size, unit: Unit):
    box = data.draw(boxes_in(size))
    back = box.to(unit, size).to(Unit.PIXEL, size)
    for a, b in zip((box.x1, box.y1, box.x2, box.y2), (back.x1, back.y1, back.x2, back.y2), strict=True):
        assert math.isclose(a, b, rel_tol=1e-14)


@given(st.data(), sizes, st.sampled_from(Unit))
def test_pixel_bounds_cover_the_box_and_are_tight(data: st.DataObject, size: Size, unit: Unit):
    box = data.draw(boxes_in(size))
    left, top, right, bottom = box.to(unit, size).pixel_bounds(size)
    assert 0 <= left < right <= size.width
    assert 0 <= top < bottom <= size.height
    noise = 2e-6
    assert left <= box.x1 + noise
    assert top <= box.y1 + noise
    assert right >= box.x2 - noise
    assert bottom >= box.y2 - noise
    # One pixel fewer on any side would lose some of the box.
    assert left + 1 > box.x1
    assert top + 1 > box.y1
    assert right - 1 < box.x2
    assert bottom - 1 < box.y2


@given(sizes, st.data(), st.sampled_from([Unit.FRACTION, Unit.RELATIVE]))
def test_whole_pixels_stay_exactly_themselves_in_every_unit(size: Size, data: st.DataObject, unit: Unit):
    left = data.draw(st.integers(0, size.width - 1))
    right = data.draw(st.integers(left + 1, size.width))
    box = Box(left, 0, right, size.height)
    assert box.to(unit, size).pixel_bounds(size) == (left, 0, right, size.height)


def test_the_units_by_hand():
    size = Size(200, 50)
    box = Box(20, 10, 100, 50)
    assert box.to(Unit.FRACTION, size) == Box(0.1, 0.2, 0.5, 1.0, Unit.FRACTION)
    assert box.to(Unit.RELATIVE, size) == Box(100, 200, 500, 1000, Unit.RELATIVE)
    assert Box(100, 200, 500, 1000, Unit.RELATIVE).to(Unit.FRACTION, size) == Box(
        0.1, 0.2, 0.5, 1.0, Unit.FRACTION
    )


def test_a_fractional_box_that_ends_at_one_is_not_read_as_pixels():
    assert Box(0.5, 0.5, 1.0, 1.0, Unit.FRACTION).pixel_bounds(Size(640, 480)) == (320, 240, 640, 480)


def test_pixel_bounds_round_outward_and_stop_at_the_edge():
    size = Size(10, 10)
    assert Box(1.2, 2.9, 3.1, 4.0).pixel_bounds(size) == (1, 2, 4, 4)
    assert Box(-5, -5, 30, 30).pixel_bounds(size) == (0, 0, 10, 10)


def test_iou_and_coverage_by_hand():
    # Two squares of 4 by 4 that share 2 by 2: 4 of 28.
    a, b = Box(0, 0, 4, 4), Box(2, 2, 6, 6)
    assert a.iou(b) == pytest.approx(4 / 28)
    assert a.coverage_of(b) == 0.25
    assert a.iou(a) == 1.0
    assert Box(0, 0, 10, 10).coverage_of(b) == 1.0
    assert Box(0, 0, 10, 10).iou(b) == pytest.approx(0.16)


def test_boxes_that_only_touch_do_not_overlap():
    a = Box(0, 0, 4, 4)
    assert not a.overlaps(Box(4, 0, 8, 4))
    assert a.overlaps(Box(3.9, 0, 8, 4))
    assert a.iou(Box(5, 5, 8, 8)) == 0.0


def test_a_box_turned_inside_out_has_no_area():
    inverted = Box(4, 4, 1, 1)
    assert inverted.area == 0.0
    assert inverted.iou(inverted) == 0.0
    assert Box(0, 0, 9, 9).coverage_of(inverted) == 0.0


@given(st.data(), sizes)
def test_iou_is_symmetric_and_at_most_the_coverage(data: st.DataObject, size: Size):
    a, b = data.draw(boxes_in(size)), data.draw(boxes_in(size))
    assert a.iou(b) == b.iou(a)
    assert 0 <= a.iou(b) <= min(a.coverage_of(b), b.coverage_of(a)) + 1e-9


def test_contains_clip_and_pad():
    box = Box(2, 2, 6, 8)
    assert Box(2, 2, 6, 8).contains(box)
    assert not Box(2, 2, 6, 7.9).contains(box)
    assert box.pad(1) == Box(1, 1, 7, 9)
    assert box.pad(5).clip(Size(8, 8)) == Box(0, 0, 8, 8)
    assert box.center == (4.0, 5.0)


def test_boxes_of_different_units_are_never_compared():
    with pytest.raises(ValueError, match=r"relative|pixel"):
        Box(0, 0, 1, 1).iou(Box(0, 0, 1, 1, Unit.RELATIVE))


def test_the_box_around_several():
    assert around([Box(3, 4, 5, 6)]) == Box(3, 4, 5, 6)
    assert around([Box(3, 4, 5, 6), Box(0, 5, 4, 9), Box(1, 1, 2, 2)]) == Box(0, 1, 5, 9)
    unit = Unit.RELATIVE
    assert around([Box(10, 0, 20, 5, unit), Box(0, 1, 15, 9, unit)]) == Box(0, 0, 20, 9, unit)
    with pytest.raises(AssertionError):
        around([Box(0, 0, 1, 1), Box(0, 0, 1, 1, unit)])
