"""The regions that a synthesised trajectory shows: around the cue, far from it, or far too large.

Boxes are written in the model's unit with coordinates on a coarse step (a small model learns 50 numbers
sooner than 1,000). What must hold, that a box holds the cue or has nothing of it, is about the pixels that
are then cut, so every function here judges a box after both roundings, and after the margin that the
operation adds (`CutRule`): that of the released checkpoints adds a tenth of the image on every side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.geometry import Box, Size, Unit
from pixelreasoner.ops.frames import MAX_FRAMES

FITTING = (2.2, 3.2)
"""Side of a good crop, in sides of the cue."""
TOO_LARGE = (6.0, 9.0)
"""Side of a crop that is too large, in sides of the cue."""
LARGEST_FITTING, LARGEST = 0.75, 0.6
"""The most of the image's shorter side that a good crop and a too large one may take."""
LEAST_ROOM = 1.15
"""A good crop's side is at least this many times the longer side of the cue."""
MARGIN = 0.25
"""Share of a crop's side kept between its edge and the cue, where the image has room."""
ELONGATED = 4.0
"""From this ratio of its sides on, a cue is a line."""
FAR_AREA = (2.2, 3.2)
"""Area of a crop that is too large around a line or a broad cue, in areas of the largest good crop."""
LARGEST_ACROSS, LARGEST_AREA = 0.85, 0.6
"""The most of the image's side across the cue, and of its area, that it may take."""
SHORTEST_PX = 28.0
"""The shortest side of a wrong crop, unless a good one is shorter; what released vision towers read at
least."""
TRIES = 40
NO_TOO_LARGE = "the cue is too large a part of its image for a crop that is too large"


class SynthesisError(PixelReasonerError):
    """A trajectory that cannot be written for a task."""


class Shape(Enum):
    """How the crops of a cue are shaped."""

    SQUARE = "square"
    """A square with wide margins around a small thing."""
    LINE = "line"
    """A rectangle around a line of text: a square would be most of the page."""
    CLOSE = "close"
    """A rectangle with narrow margins around a broad thing: wide ones would take in most of the picture."""


@dataclass(frozen=True)
class _Sides:
    """Of the rectangles around a cue that is no small thing, in sides of the cue."""

    along: tuple[float, float]
    """Of the longer side of a good crop."""
    across: tuple[float, float]
    """Of the shorter one."""
    far_along: tuple[float, float]
    """Of the longer side of a crop that is too large."""


_SIDES = {
    Shape.LINE: _Sides(along=(1.1, 1.25), across=(1.6, 2.4), far_along=(1.3, 1.6)),
    Shape.CLOSE: _Sides(along=(1.1, 1.4), across=(1.1, 1.4), far_along=(1.9, 2.4)),
}


def shape_of(cue: Box, size: Size) -> Shape:
    """How the crops of a cue in an image are shaped; of crops of its crops too."""
    if max(cue.width, cue.height) > ELONGATED * min(cue.width, cue.height):
        return Shape.LINE
    return Shape.SQUARE if LARGEST * min(size) >= _clearly_larger(cue) else Shape.CLOSE


@dataclass(frozen=True)
class CutRule:
    """What an operation cuts for the numbers of a box."""

    padding: float = 0.0
    """The margin it adds on each side, as a share of the image's width or height."""
    least_px: float = 1.0
    """It refuses crops with a shorter side, in original pixels."""
    below_one: bool = False
    """Whether it reads numbers as fractions only while all are less than 1."""


@dataclass(frozen=True)
class CoordinateGrid:
    """The boxes that can be written about one image: corners on multiples of `step`, in the model's unit."""

    size: Size
    """The original image in pixels."""
    view: Size
    """The size it is shown at: what pixel coordinates of the model refer to."""
    unit: Unit = Unit.RELATIVE
    step: float = 20
    """In `unit`; the right and bottom edges count as multiples."""
    cut: CutRule = CutRule()
    """What is cut for a box that was written."""
    clearance: float = 0.0
    """What lies between a wrong crop and the cue at least, as a share of the image's width or height."""

    @property
    def cell_px(self) -> float:
        """The longest that rounding outward can move an edge, in original pixels."""
        cell = Box(0, 0, self.step, self.step, self.unit).to(Unit.FRACTION, self.view)
        return max(cell.x2 * self.size.width, cell.y2 * self.size.height)

    def encode_box(self, box: Box) -> Box:
        """The box that the model writes, so that all of `box` (in original pixels) is cut.

        In the model's unit, rounded outward to the step; one step wide and high at least.
        """
        edge = Box(0, 0, 1, 1, Unit.FRACTION).to(self.unit, self.view)
        fraction = _shrunk(box.clip(self.size).to(Unit.FRACTION, self.size), self.cut.padding)
        b = fraction.to(self.unit, self.view)
        x1, x2 = self._outward(b.x1, b.x2, edge.x2)
        y1, y2 = self._outward(b.y1, b.y2, edge.y2)
        return Box(x1, y1, x2, y2, self.unit)

    def decode_box(self, written: Box) -> Box:
        """The whole original pixels that the operation cuts for a box the model wrote."""
        said = written.to(Unit.FRACTION, self.view).pad(self.cut.padding)
        return Box(*said.pixel_bounds(self.size))

    def kept_clear(self, box: Box) -> Box:
        """A box in original pixels with the clearance around it."""
        dx, dy = (self.clearance * length for length in self.size)
        return Box(box.x1 - dx, box.y1 - dy, box.x2 + dx, box.y2 + dy)

    def _outward(self, low: float, high: float, edge: float) -> tuple[float, float]:
        """An interval from a multiple of the step to another one, or to the edge."""
        step = self.step
        if self.cut.below_one:
            edge = round((math.ceil(edge / step) - 1) * step, 6)
        start = round(math.floor(low / step) * step, 6)
        end = min(round(math.ceil(high / step) * step, 6), edge)
        if start < end:
            return start, end
        return (start, round(start + step, 6)) if start + step <= edge else (round(edge - step, 6), edge)


def fitting_box(cue: Box, grid: CoordinateGrid, rng: np.random.Generator, shape: Shape = Shape.SQUARE) -> Box:
    """A good crop, as the model writes it: it holds the whole cue, with some margin, and not much else.

    `cue` is in original pixels of the grid's image; so for all functions here.
    """
    if shape is not Shape.SQUARE:
        return _framed(cue, grid, rng, *_good_sides(cue, rng, _SIDES[shape]))
    side, longer = math.sqrt(cue.area), max(cue.width, cue.height)
    most = min(FITTING[1] * side, LARGEST_FITTING * min(grid.size))
    return _around(cue, grid, rng, least=max(FITTING[0] * side, LEAST_ROOM * longer), most=most)


def too_large_box(
    cue: Box, grid: CoordinateGrid, rng: np.random.Generator, shape: Shape = Shape.SQUARE
) -> Box:
    """A crop that holds the cue and is too large to be of use, without being the whole image.

    Raises:
        SynthesisError: the cue takes so much of the image that no crop is too large for it.
    """
    if shape is not Shape.SQUARE:
        return _framed(cue, grid, rng, *_far_larger_sides(cue, grid, rng, _SIDES[shape]))
    side, cap, clearly_larger = math.sqrt(cue.area), LARGEST * min(grid.size), _clearly_larger(cue)
    if cap < clearly_larger:
        raise SynthesisError(NO_TOO_LARGE)
    least = min(max(TOO_LARGE[0] * side, clearly_larger), cap)
    return _around(cue, grid, rng, least=least, most=min(TOO_LARGE[1] * side, cap))


def disjoint_box(
    cue: Box,
    grid: CoordinateGrid,
    rng: np.random.Generator,
    *others: Box,
    shape: Shape = Shape.SQUARE,
) -> Box:
    """A wrong crop: of the size and shape of a good one, without the cue, and `others` where there is room.

    Raises:
        SynthesisError: the cue leaves no room for it.
    """
    wanted, least_px = _wrong_sides(cue, rng, shape), grid.cut.least_px
    for forbidden in ((cue, *others), (cue,)):
        for tried in range(TRIES):
            w, h = (
                min(max(side * 0.93**tried, min(max(side, least_px), max(SHORTEST_PX, least_px))), limit)
                for side, limit in zip(wanted, grid.size, strict=True)
            )
            x, y = float(rng.uniform(0, grid.size.width - w)), float(rng.uniform(0, grid.size.height - h))
            written = grid.encode_box(Box(x, y, x + w, y + h))
            cut = grid.decode_box(written)
            if min(cut.width, cut.height) < min(least_px, *grid.size):
                continue
            if not any(grid.kept_clear(cut).overlaps(box) for box in forbidden):
                return written
    raise SynthesisError("the cue leaves no room in its image for a crop without it")


def fitting_frames(
    cue_frames: Sequence[int], rng: np.random.Generator, *, most: int = MAX_FRAMES
) -> tuple[int, ...]:
    """The frames that hold the cue, in order; a random choice of them when there are more than `most`."""
    frames = sorted(cue_frames)
    if len(frames) <= most:
        return tuple(frames)
    return tuple(sorted(rng.choice(frames, most, replace=False).tolist()))


def disjoint_frames(
    cue_frames: Sequence[int], n_frames: int, rng: np.random.Generator, *, most: int = MAX_FRAMES
) -> tuple[int, ...]:
    """Frames of a video of `n_frames` without the cue: as many as hold it, in a row where possible.

    Raises:
        SynthesisError: every frame holds the cue.
    """
    taken = set(cue_frames)
    free = [frame for frame in range(1, n_frames + 1) if frame not in taken]
    if not free:
        raise SynthesisError("every frame holds the cue, so there are no wrong frames to select")
    n = min(len(taken), len(free), most)
    runs = [free[i : i + n] for i in range(len(free) - n + 1) if free[i + n - 1] - free[i] == n - 1]
    if runs:
        return tuple(runs[int(rng.integers(len(runs)))])
    return tuple(sorted(rng.choice(free, n, replace=False).tolist()))


def _clearly_larger(cue: Box) -> float:
    """The least side of a square that is too large for a cue, in pixels."""
    return 1.5 * max(FITTING[1] * math.sqrt(cue.area), LEAST_ROOM * max(cue.width, cue.height))


def _good_sides(cue: Box, rng: np.random.Generator, sides: _Sides) -> tuple[float, float]:
    """Of a good crop, in pixels: along the longer side of the cue, and across."""
    longer, shorter = max(cue.width, cue.height), min(cue.width, cue.height)
    return float(rng.uniform(*sides.along)) * longer, float(rng.uniform(*sides.across)) * shorter


def _far_larger_sides(
    cue: Box, grid: CoordinateGrid, rng: np.random.Generator, sides: _Sides
) -> tuple[float, float]:
    """As `_good_sides`, of a crop that is too large.

    Raises:
        SynthesisError: there is none.
    """
    longer, shorter = max(cue.width, cue.height), min(cue.width, cue.height)
    width, height = grid.size
    length, breadth = (width, height) if cue.width >= cue.height else (height, width)
    rounding = 2 * grid.cell_px
    good = (sides.along[1] * longer + rounding) * (sides.across[1] * shorter + rounding)
    along = min(float(rng.uniform(*sides.far_along)) * longer, length)
    most = min(LARGEST_ACROSS * breadth, LARGEST_AREA * width * height / along)
    least = FAR_AREA[0] * good / along
    if most < least:
        raise SynthesisError(NO_TOO_LARGE)
    return along, float(rng.uniform(least, min(most, FAR_AREA[1] * good / along)))


def _wrong_sides(cue: Box, rng: np.random.Generator, shape: Shape) -> tuple[float, float]:
    """Width and height of a wrong crop, in pixels, where there is room."""
    if shape is Shape.SQUARE:
        side = float(rng.uniform(*FITTING)) * math.sqrt(cue.area)
        return side, side
    along, across = _good_sides(cue, rng, _SIDES[shape])
    return (along, across) if cue.width >= cue.height else (across, along)


def _framed(cue: Box, grid: CoordinateGrid, rng: np.random.Generator, along: float, across: float) -> Box:
    """A rectangle around the cue, of these sides."""
    width, height = (along, across) if cue.width >= cue.height else (across, along)
    x1, x2 = _span(cue.x1, cue.x2, width, grid.size.width, rng)
    y1, y2 = _span(cue.y1, cue.y2, height, grid.size.height, rng)
    return grid.encode_box(Box(x1, y1, x2, y2))


def _around(cue: Box, grid: CoordinateGrid, rng: np.random.Generator, *, least: float, most: float) -> Box:
    """A square around the cue, its side from `least` to `most` after rounding, where the image allows."""
    side = float(rng.uniform(least, max(least, most - 2 * grid.cell_px)))
    x1, x2 = _span(cue.x1, cue.x2, side, grid.size.width, rng)
    y1, y2 = _span(cue.y1, cue.y2, side, grid.size.height, rng)
    return grid.encode_box(Box(x1, y1, x2, y2))


def _shrunk(box: Box, by: float) -> Box:
    """A box without `by` of each of its sides; of what is left of a small one, its centre."""
    (x, y), padded = box.center, box.pad(-by)
    x1, x2 = (padded.x1, padded.x2) if padded.width > 0 else (x, x)
    y1, y2 = (padded.y1, padded.y2) if padded.height > 0 else (y, y)
    return Box(x1, y1, x2, y2, box.unit)


def _span(low: float, high: float, side: float, length: int, rng: np.random.Generator) -> tuple[float, float]:
    """A random interval of `side` that holds [low, high], within [0, length]."""
    side = min(max(side, high - low), float(length))
    margin = min(MARGIN * side, (side - (high - low)) / 2)
    first, last = max(0.0, high + margin - side), min(low - margin, length - side)
    # Near an edge of the image there is no room for the margin.
    start = float(rng.uniform(first, last)) if first <= last else min(first, length - side)
    return start, start + side
