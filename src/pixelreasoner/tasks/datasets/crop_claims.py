"""What a crop shows of its picture, and whether that is what its box claims.

Nothing in published data says how crops were made, so where a box does not fit as its numbers read (pixels;
fractions where none exceeds 1), it is read as pixels, as fractions and as thousandths, each with and without
the margin of the released operation, a tenth of the picture's sides (`ops.crop_normalized`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from pixelreasoner.core.crop_match import find_region, shows_region
from pixelreasoner.core.geometry import Box, Size, Unit
from pixelreasoner.core.media import Picture

LEAST_SIDE_PX = 28
"""A crop with a shorter side is less than one visual token of Qwen2.5-VL."""
MARGIN = 0.1
"""Of the released operation, on each side, as a share of the picture's width or height."""
TOLERANCE_PX = 2.0
"""What rounding may move an edge by."""
SHAPE_TOLERANCE = 0.05
"""Share by which the proportions of a crop may differ from those of its box, besides `TOLERANCE_PX`."""

Numbers = tuple[float, float, float, float]
_UNITS = {Unit.PIXEL: "pixels", Unit.FRACTION: "fractions", Unit.RELATIVE: "thousandths"}


class Problem(NamedTuple):
    """Something about a crop that does not hold."""

    reason: str
    """What crops of this kind are counted under."""
    detail: str


@dataclass(frozen=True)
class Claim:
    """A box, and the crop that was shown for it."""

    shows: Box | None
    """What the crop shows, in pixels of the picture; None where nobody knows."""
    problems: tuple[Problem, ...] = ()
    with_margin: bool = False


def box_numbers(value: Any) -> Numbers | None:
    """The numbers of a box; None where it is something else."""
    items = cast(Sequence[Any], value) if isinstance(value, (list, tuple)) else ()
    if len(items) != 4 or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in items):
        return None
    a, b, c, d = map(float, items)
    return (a, b, c, d) if all(map(math.isfinite, (a, b, c, d))) else None


def judge_crop(numbers: Numbers, picture: Picture, crop: Picture) -> Claim:
    """What a crop shows, and what of its box's claim does not hold.

    Args:
        numbers: left, top, right, bottom, as the call has them.
        picture: which the call names.
        crop: what came back.

    Raises:
        MediaError: one of the two cannot be decoded.
    """
    text = f"{listed(numbers)} in a picture of {picture.size.width}x{picture.size.height}"
    x1, y1, x2, y2 = numbers
    if x1 >= x2 or y1 >= y2:
        return Claim(None, (Problem("a box has no area", text),))
    claimed = Unit.FRACTION if max(numbers) <= 1 else Unit.PIXEL
    box = Box(*numbers, claimed).to(Unit.PIXEL, picture.size)
    outside = () if _inside(box, picture.size) else (Problem("a box reaches out of its picture", text),)
    for unit in (claimed, *(unit for unit in Unit if unit is not claimed)):
        for margin in (0.0, MARGIN):
            bounds = _bounds(numbers, unit, margin, picture.size)
            if bounds is None or not _has_shape(crop.size, bounds) or not shows_region(picture, bounds, crop):
                continue
            found = outside
            if unit is not claimed:
                detail = f"{text}: the crop fits {_UNITS[unit]}, not {_UNITS[claimed]}"
                found = (Problem("a box is in other units than its numbers say", detail),)
            return Claim(Box(*bounds), (*found, *_too_small(bounds, crop)), margin > 0)
    shows, problem = _misplaced(box, picture, crop, text)
    return Claim(shows, (*outside, problem))


def _misplaced(box: Box, picture: Picture, crop: Picture, text: str) -> tuple[Box | None, Problem]:
    """Of a crop that fits no reading of its box: where it was cut instead, and what is wrong."""
    bounds = box.pixel_bounds(picture.size)
    size = Size(max(0, bounds[2] - bounds[0]), max(0, bounds[3] - bounds[1]))
    if min(size) < 1 or not _has_shape(crop.size, bounds):
        detail = f"{text}; the crop is {crop.size.width}x{crop.size.height}"
        return None, Problem("a crop does not have the shape of its box", detail)
    found = find_region(picture, size, crop)
    where = "and was not found in it" if found is None else f"it shows {listed(_corners(found))}"
    return found, Problem("a crop is not the part of its picture that its box names", f"{text}; {where}")


def _corners(box: Box) -> Numbers:
    return box.x1, box.y1, box.x2, box.y2


def _too_small(bounds: tuple[int, int, int, int], crop: Picture) -> tuple[Problem, ...]:
    width, height = bounds[2] - bounds[0], bounds[3] - bounds[1]
    if min(width, height, *crop.size) >= LEAST_SIDE_PX:
        return ()
    detail = f"{width}x{height} pixels, shown as {crop.size.width}x{crop.size.height}"
    return (Problem(f"a crop has a side below {LEAST_SIDE_PX} pixels", detail),)


def _bounds(numbers: Numbers, unit: Unit, margin: float, size: Size) -> tuple[int, int, int, int] | None:
    """The whole pixels of a reading; None where there are none of them in the picture."""
    box = Box(*numbers, unit).to(Unit.FRACTION, size).pad(margin)
    left, top, right, bottom = box.pixel_bounds(size)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _has_shape(crop: Size, bounds: tuple[int, int, int, int]) -> bool:
    """Whether a crop has the proportions of a region, at whatever size it is kept."""
    width, height = bounds[2] - bounds[0], bounds[3] - bounds[1]
    # One side has what the other one's scale makes of it.
    sides = (crop.height, height * crop.width / width), (crop.width, width * crop.height / height)
    return any(abs(ours - due) <= max(TOLERANCE_PX, SHAPE_TOLERANCE * due) for ours, due in sides)


def _inside(box: Box, size: Size) -> bool:
    return Box(0, 0, *size).pad(TOLERANCE_PX).contains(box)


def listed(values: Sequence[float]) -> str:
    """Numbers as a call has them."""
    return f"[{', '.join(f'{v:g}' for v in values)}]"
