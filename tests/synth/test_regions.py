"""Good, wrong and too large crops keep their promise in the pixels that are really cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pixelreasoner.core.geometry import Box, Size, Unit
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.ops.crop_normalized import CropImageNormalized
from pixelreasoner.ops.image_context import DisplayedImage, ImageContext
from pixelreasoner.synth.regions import (
    CoordinateGrid,
    CutRule,
    Shape,
    SynthesisError,
    disjoint_box,
    disjoint_frames,
    fitting_box,
    fitting_frames,
    shape_of,
    too_large_box,
)
from toolboxes import standard_toolbox

STEPS = [
    (Unit.RELATIVE, 20.0),
    (Unit.RELATIVE, 1.0),
    (Unit.PIXEL, 7.0),
    (Unit.PIXEL, 1.0),
    (Unit.FRACTION, 0.02),
]


@st.composite
def grids(draw: st.DrawFn) -> CoordinateGrid:
    size = Size(draw(st.integers(300, 900)), draw(st.integers(300, 900)))
    view = Size(draw(st.integers(8, 40)) * 16, draw(st.integers(8, 40)) * 16)
    unit, step = draw(st.sampled_from(STEPS))
    return CoordinateGrid(size, view, unit, step)


@st.composite
def cues(draw: st.DrawFn, grid: CoordinateGrid, low: float = 12, high: float = 60) -> Box:
    w, h = draw(st.floats(low, high)), draw(st.floats(low, high))
    x = draw(st.floats(0, grid.size.width - w))
    y = draw(st.floats(0, grid.size.height - h))
    return Box(x, y, x + w, y + h)


def on_step(said: Box, grid: CoordinateGrid) -> bool:
    """Corners are multiples of the step, or on the image's edge."""
    edge = Box(0, 0, 1, 1, Unit.FRACTION).to(grid.unit, grid.view)
    return all(
        abs(v / grid.step - round(v / grid.step)) < 1e-6 or v == limit
        for v, limit in zip((said.x1, said.y1, said.x2, said.y2), (edge.x2, edge.y2) * 2, strict=True)
    )


@given(st.data(), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_a_good_crop_holds_the_cue_and_little_else(data: st.DataObject, seed: int):
    grid = data.draw(grids())
    cue = data.draw(cues(grid))
    said = fitting_box(cue, grid, np.random.default_rng(seed))
    cut = grid.decode_box(said)
    assert cut.contains(cue)
    assert on_step(said, grid)
    # At most 3.2 sides of the cue; where a coarse step leaves no room for that, a step more on each side.
    side, longer = cue.area**0.5, max(cue.width, cue.height)
    assert (
        max(cut.width, cut.height) <= max(3.2 * side, max(2.2 * side, 1.15 * longer) + 2 * grid.cell_px) + 2
    )


@given(st.data(), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_a_wrong_crop_has_nothing_of_the_cue_nor_of_other_wrong_crops(data: st.DataObject, seed: int):
    grid, rng = data.draw(grids()), np.random.default_rng(seed)
    cue = data.draw(cues(grid))
    first = grid.decode_box(disjoint_box(cue, grid, rng))
    said = disjoint_box(cue, grid, rng, first)
    second = grid.decode_box(said)
    assert not first.overlaps(cue)
    assert not second.overlaps(cue)
    assert not second.overlaps(first)
    assert on_step(said, grid)
    assert min(second.width, second.height) >= 8


@given(st.data(), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_a_too_large_crop_holds_the_cue_and_is_neither_good_nor_everything(data: st.DataObject, seed: int):
    grid, rng = data.draw(grids()), np.random.default_rng(seed)
    cue = data.draw(cues(grid, low=22, high=30))
    assume(grid.cell_px < 20)
    large = grid.decode_box(too_large_box(cue, grid, rng))
    assert large.contains(cue)
    assert large.area > 2 * 3.2**2 * cue.area  # twice the largest good crop
    assert large.area < 0.75 * grid.size.width * grid.size.height


@given(grids(), st.data())
@settings(max_examples=100, deadline=None)
def test_the_lattice_cuts_what_crop_image_cuts(grid: CoordinateGrid, data: st.DataObject):
    said = grid.encode_box(data.draw(cues(grid)))
    toolbox = standard_toolbox(unit=grid.unit, crop_reply="", frames_reply="", error_reply="{error}")
    picture = Picture(np.zeros((grid.size.height, grid.size.width, 3), np.uint8))
    call = ToolCall("crop_image", {"bbox_2d": [said.x1, said.y1, said.x2, said.y2], "target_image": 1})
    assert toolbox.execute(call, ImageContext((DisplayedImage(picture, grid.view),))).box == grid.decode_box(
        said
    )


def test_rounding_by_hand():
    # One cell is 20 thousandths of 768 pixels, 15.36: from 2.6 to 5.2 cells, and from 0 to the edge.
    grid = CoordinateGrid(Size(768, 768), Size(128, 128))
    assert grid.encode_box(Box(40, 0, 80, 768)) == Box(40, 0, 120, 1000, Unit.RELATIVE)
    # 40 and 120 thousandths are 30.72 and 92.16 pixels.
    assert grid.decode_box(grid.encode_box(Box(40, 0, 80, 768))) == Box(30, 0, 93, 768)


def test_an_image_that_the_cue_fills_has_no_wrong_and_no_too_large_crop():
    grid, rng = CoordinateGrid(Size(100, 100), Size(96, 96)), np.random.default_rng(0)
    with pytest.raises(SynthesisError, match="no room"):
        disjoint_box(Box(0, 0, 100, 100), grid, rng)
    with pytest.raises(SynthesisError, match="too large"):
        too_large_box(Box(30, 30, 60, 60), grid, rng)


@given(st.integers(1, 12), st.integers(0, 4), st.integers(0, 10**6))
def test_wrong_frames_are_others_and_as_many(start: int, more: int, seed: int):
    cue = tuple(range(start, start + more + 1))
    frames = disjoint_frames(cue, 16, np.random.default_rng(seed))
    assert not set(frames) & set(cue)
    assert len(frames) == len(cue)
    # 16 frames always leave a run as long as a cue of up to 5.
    assert frames == tuple(range(frames[0], frames[0] + len(cue)))
    assert 1 <= frames[0] <= frames[-1] <= 16


def test_frames_at_the_limits():
    rng = np.random.default_rng(0)
    assert fitting_frames((7, 5, 6), rng) == (5, 6, 7)
    many = fitting_frames(range(1, 17), rng)
    assert len(set(many)) == 8
    assert list(many) == sorted(many)
    assert disjoint_frames((2, 4), 4, rng) == (1, 3)
    with pytest.raises(SynthesisError, match="every frame"):
        disjoint_frames((1, 2), 2, rng)


RELEASED = CutRule(padding=0.1, least_px=29, below_one=True)
"""What the crop operation of the released checkpoints does: `ops.crop_normalized`."""


@st.composite
def padded_grids(draw: st.DrawFn) -> CoordinateGrid:
    grid = draw(grids())
    return CoordinateGrid(grid.size, grid.view, Unit.FRACTION, draw(st.sampled_from([0.01, 0.02])), RELEASED)


def executed(said: Box, grid: CoordinateGrid) -> Box:
    """What the operation of the released checkpoints cuts, asked for as a model asks."""
    picture = Picture(np.zeros((grid.size.height, grid.size.width, 3), np.uint8))
    context = ImageContext((DisplayedImage(picture, grid.view),))
    corners = [said.x1, said.y1, said.x2, said.y2]
    box = CropImageNormalized(reply="")({"bbox_2d": corners, "target_image": 1}, context).box
    assert box is not None
    return box


@given(st.data(), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_an_operation_that_pads_its_crops_cuts_nothing_of_the_cue_where_it_must_not(
    data: st.DataObject, seed: int
):
    grid, rng = data.draw(padded_grids()), np.random.default_rng(seed)
    cue = data.draw(cues(grid, high=35))
    first = executed(disjoint_box(cue, grid, rng), grid)
    second = executed(disjoint_box(cue, grid, rng, first), grid)
    assert not first.overlaps(cue)
    assert not second.overlaps(cue)
    right, large = executed(fitting_box(cue, grid, rng), grid), executed(too_large_box(cue, grid, rng), grid)
    assert right.contains(cue)
    assert large.contains(cue)
    # The margin is a tenth on each side, so that no crop is smaller than a fifth, and a step, of the image.
    assert right.width <= max(3.2 * 35, 0.2 * grid.size.width) + 2 * grid.cell_px + 2


@given(st.data(), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_a_wrong_crop_keeps_a_clearance_that_later_padding_does_not_use_up(data: st.DataObject, seed: int):
    plain = data.draw(grids())
    grid = CoordinateGrid(plain.size, plain.view, plain.unit, plain.step, clearance=0.1)
    cue, rng = data.draw(cues(grid)), np.random.default_rng(seed)
    said = disjoint_box(cue, grid, rng)
    # As training code that pads by a tenth of each side cuts it.
    fraction = said.to(Unit.FRACTION, grid.view)
    padded = Box(*fraction.pad(0.1).pixel_bounds(grid.size))
    exact = fraction.pad(0.1).clip(grid.size).to(Unit.PIXEL, grid.size)
    assert exact.intersection(cue).area <= 1e-6
    assert padded.coverage_of(cue) < 0.2  # whole pixels of the padding may touch the edge of the cue


def test_padded_boxes_by_hand():
    # 200x100: the margin is 20 pixels of width, 10 of height.
    grid = CoordinateGrid(Size(200, 100), Size(200, 100), Unit.FRACTION, 0.02, RELEASED)
    # From 60 to 140 of 200 is 0.3 to 0.7, without the margins 0.4 to 0.6; 20 to 80 of 100 is 0.3 to 0.7.
    assert grid.encode_box(Box(60, 20, 140, 80)) == Box(0.4, 0.3, 0.6, 0.7, Unit.FRACTION)
    assert grid.decode_box(Box(0.4, 0.3, 0.6, 0.7, Unit.FRACTION)) == Box(60, 20, 140, 80)
    # Smaller than the margins: a step around its centre. The corner is written below 1, and cut to the edge.
    assert grid.encode_box(Box(101, 50.5, 105, 52)) == Box(0.5, 0.5, 0.52, 0.52, Unit.FRACTION)
    corner = grid.encode_box(Box(196, 98, 200, 100))
    assert corner == Box(0.96, 0.96, 0.98, 0.98, Unit.FRACTION)
    assert grid.decode_box(corner) == Box(172, 86, 200, 100)


@st.composite
def lines(draw: st.DrawFn, grid: CoordinateGrid) -> Box:
    """A passage of a page, or a column: four to twelve times as long as broad."""
    length, breadth = grid.size if (across := draw(st.booleans())) else (grid.size.height, grid.size.width)
    long = draw(st.floats(0.4, 0.6)) * length
    short = min(long / draw(st.floats(4.01, 12)), 0.05 * breadth)
    at, below = draw(st.floats(0, length - long)), draw(st.floats(0, breadth - short))
    box = Box(at, below, at + long, below + short)
    return box if across else Box(box.y1, box.x1, box.y2, box.x2)


@given(st.data(), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_lines_of_text_get_crops_of_their_own_shape(data: st.DataObject, seed: int):
    grid, rng = data.draw(grids()), np.random.default_rng(seed)
    assume(grid.cell_px < 10)
    cue = data.draw(lines(grid))
    shape = shape_of(cue, grid.size)
    assert shape is Shape.LINE
    right, large = (grid.decode_box(make(cue, grid, rng, shape)) for make in (fitting_box, too_large_box))
    assert right.contains(cue)
    assert large.contains(cue)
    rounding = 2 * grid.cell_px + 2
    longer, shorter = max(cue.width, cue.height), min(cue.width, cue.height)
    assert right.area <= (1.25 * longer + rounding) * (2.4 * shorter + rounding)
    assert large.area >= 2 * right.area
    assert large.area <= 0.6 * grid.size.width * grid.size.height + rounding * sum(grid.size)
    wrong = grid.decode_box(disjoint_box(cue, grid, rng, shape=shape))
    assert not wrong.overlaps(cue)
    assert min(wrong.width, wrong.height) >= min(shorter, 28)


@given(st.data(), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_a_broad_cue_gets_close_crops(data: st.DataObject, seed: int):
    grid, rng = data.draw(grids()), np.random.default_rng(seed)
    assume(grid.cell_px < 10)
    least = min(grid.size)
    cue = data.draw(cues(grid, low=0.15 * least, high=0.25 * least))
    shape = shape_of(cue, grid.size)
    assert shape is Shape.CLOSE
    right, large = (grid.decode_box(make(cue, grid, rng, shape)) for make in (fitting_box, too_large_box))
    rounding = 2 * grid.cell_px + 2
    assert right.contains(cue)
    assert right.area <= (1.4 * cue.width + rounding) * (1.4 * cue.height + rounding)
    assert large.contains(cue)
    assert large.area >= 2 * right.area
    assert large.area <= 0.6 * grid.size.width * grid.size.height + rounding * sum(grid.size)
    assert not grid.decode_box(disjoint_box(cue, grid, rng, shape=shape)).overlaps(cue)


def test_shapes_by_hand():
    size = Size(640, 480)
    # A square is too large from 1.5 * 3.2 sides of the cue on, and may take 0.6 * 480 = 288 pixels: 60 sides.
    assert shape_of(Box(0, 0, 60, 60), size) is Shape.SQUARE
    assert shape_of(Box(0, 0, 61, 61), size) is Shape.CLOSE
    assert shape_of(Box(0, 0, 120, 30), size) is Shape.SQUARE  # four to one, and as much area as 60 by 60
    assert shape_of(Box(0, 0, 30, 121), size) is Shape.LINE
