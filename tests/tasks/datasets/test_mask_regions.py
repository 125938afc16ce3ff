"""Which boxes of masks become candidates, and in which order; every value worked out by hand.

The picture has 1000x1000 px, so that 0.001 of its area is 1,000 px and 0.1 of it 100,000.
"""

from __future__ import annotations

import pytest

from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.tasks.datasets.mask_regions import RegionRules, regions_of

SIZE = Size(1000, 1000)


def mask(x: float, y: float, width: float, height: float, **changes: float) -> dict:
    plain = {
        "bbox": [x, y, width, height],
        "area": width * height,
        "predicted_iou": 0.95,
        "stability_score": 1.0,
    }
    return {**plain, "segmentation": {"size": [1000, 1000], "counts": "not looked at"}, **changes}


def regions(*masks: dict, **rules: float) -> list[tuple[float, float, float, float]]:
    found = regions_of(masks, SIZE, RegionRules(**rules))
    return [(box.x1, box.y1, box.x2, box.y2) for box in found]


def test_x_y_width_height_becomes_corners_within_the_picture():
    assert regions(mask(10, 20, 300, 40)) == [(10, 20, 310, 60)]
    assert regions(mask(900, 950, 200, 200)) == [(900, 950, 1000, 1000)]


@pytest.mark.parametrize(
    "left_out",
    [
        mask(0, 0, 28, 500),
        mask(0, 0, 500, 28),
        mask(0, 0, 31, 32),
        mask(0, 0, 400, 251),
        mask(0, 0, 100, 100, area=2499),
        mask(0, 0, 100, 100, predicted_iou=0.87),
        mask(0, 0, 100, 100, stability_score=0.94),
    ],
    ids=["28 px wide", "28 px high", "992 px", "100,400 px", "a wire", "a doubtful mask", "an unstable mask"],
)
def test_what_is_no_candidate(left_out: dict):
    assert regions(left_out, mask(600, 600, 50, 50)) == [(600, 600, 650, 650)]


def test_just_within_the_bounds():
    masks = [mask(0, 0, 29, 40), mask(500, 0, 400, 250), mask(0, 500, 100, 100, area=2500)]
    assert len(regions(*masks)) == 3
    assert regions(*masks, least_share=0.002) == [(500, 0, 900, 250), (0, 500, 100, 600)]
    assert regions(*masks, most_share=0.05) == [(0, 500, 100, 600), (0, 0, 29, 40)]


def test_first_comes_what_holds_most_details():
    empty, one, two = mask(0, 0, 300, 300), mask(400, 0, 100, 100), mask(0, 400, 100, 100)
    # A detail's centre is within, and its box at most half the region's. Details are no candidates.
    details = [mask(420, 20, 10, 10), mask(10, 410, 10, 10), mask(95, 450, 10, 10)]
    no_details = [mask(30, 430, 90, 80), mask(101, 401, 9, 9)]
    found = regions(empty, one, two, *details, *no_details)
    assert found[:2] == [(0, 400, 100, 500), (400, 0, 500, 100)]


def test_then_the_better_masks_then_the_larger_then_from_the_top_left():
    a = mask(500, 500, 60, 60)
    b = mask(200, 700, 60, 60)
    c = mask(100, 700, 60, 60)
    larger = mask(700, 700, 70, 60)
    better = mask(800, 100, 50, 50, predicted_iou=0.96)
    corners = [(m["bbox"][0], m["bbox"][1]) for m in (better, larger, a, c, b)]
    for order in ([a, b, c, larger, better], [better, c, larger, b, a]):
        assert [box[:2] for box in regions(*order)] == corners


def test_of_two_that_share_more_than_half_the_first_stays():
    first, second = mask(0, 0, 100, 100, predicted_iou=0.99), mask(0, 30, 100, 100)
    assert regions(second, first) == [(0, 0, 100, 100)]  # 7,000 of 13,000 px
    second = mask(0, 34, 100, 100)
    assert len(regions(second, first)) == 2  # 6,600 of 13,400 px


def test_so_many_at_most():
    row = [mask(100 * i, 0, 50, 50) for i in range(10)]
    assert len(regions(*row)) == 8
    assert regions(*row, most=2) == [(0, 0, 50, 50), (100, 0, 150, 50)]


def test_a_picture_may_have_none():
    assert regions_of([], SIZE, RegionRules()) == ()
    assert regions_of([mask(0, 0, 1000, 1000)], SIZE, RegionRules()) == ()


@pytest.mark.parametrize("wrong", [{"bbox": [1, 2, 3]}, {"bbox": [1, 2, float("nan"), 4]}, {"area": "large"}])
def test_a_mask_of_another_form_is_an_error(wrong: dict):
    with pytest.raises((TypeError, ValueError, KeyError)):
        regions_of([{**mask(0, 0, 50, 50), **wrong}], SIZE, RegionRules())


def test_the_boxes_are_in_pixels():
    assert regions_of([mask(1, 2, 50, 60)], SIZE, RegionRules()) == (Box(1, 2, 51, 62),)
