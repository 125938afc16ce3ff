"""Boxes that carry their unit, and never guess it.

A model family speaks pixels or thousandths of the image side; datasets speak pixels or fractions.
Reading one as the other is the field's most common silent bug, so a `Box` knows its unit and the only
way from one unit to another is `Box.to(unit, size)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Unit(StrEnum):
    """What one step along a box coordinate means."""

    PIXEL = "pixel"
    """One pixel of the image the box refers to."""
    FRACTION = "fraction"
    """The whole width (x) or height (y)."""
    RELATIVE = "relative"
    """One thousandth of the width (x) or height (y): the convention of Qwen3-VL."""


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box: left, top, right, bottom; right and bottom are exclusive."""

    x1: float
    y1: float
    x2: float
    y2: float
    unit: Unit = Unit.PIXEL

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """Area in squared units; 0 for a box turned inside out."""
        return max(self.width, 0.0) * max(self.height, 0.0)

    @property
    def center(self) -> tuple[float, float]:
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    def to(self, unit: Unit, size: Size) -> Box:
        """The same box of an image of `size`, in `unit`. Exact up to float rounding."""
        if unit == self.unit:
            return self
        # One multiplication and one division per coordinate keeps the round trip within an ulp or two.
        (sx, sy), (tx, ty) = _per_side(self.unit, size), _per_side(unit, size)
        return Box(self.x1 * tx / sx, self.y1 * ty / sy, self.x2 * tx / sx, self.y2 * ty / sy, unit)

    def clip(self, size: Size) -> Box:
        """The part of the box inside an image of `size`."""
        w, h = _per_side(self.unit, size)
        return Box(_clamp(self.x1, w), _clamp(self.y1, h), _clamp(self.x2, w), _clamp(self.y2, h), self.unit)

    def pad(self, amount: float) -> Box:
        """The box grown by `amount` (in its own unit) on every side."""
        return Box(self.x1 - amount, self.y1 - amount, self.x2 + amount, self.y2 + amount, self.unit)

    def intersection(self, other: Box) -> Box:
        self._check_unit(other)
        return Box(
            max(self.x1, other.x1), max(self.y1, other.y1),
            min(self.x2, other.x2), min(self.y2, other.y2), self.unit,
        )  # fmt: skip

    def overlaps(self, other: Box) -> bool:
        """Whether the two share any area (touching edges do not)."""
        both = self.intersection(other)
        return both.width > 0 and both.height > 0

    def contains(self, other: Box) -> bool:
        self._check_unit(other)
        return self.x1 <= other.x1 and self.y1 <= other.y1 and self.x2 >= other.x2 and self.y2 >= other.y2

    def coverage_of(self, other: Box) -> float:
        """The share of `other`'s area that lies inside this box, 0 to 1."""
        return self.intersection(other).area / other.area if other.area > 0 else 0.0

    def iou(self, other: Box) -> float:
        """Intersection over union, 0 to 1."""
        inter = self.intersection(other).area
        union = self.area + other.area - inter
        return inter / union if union > 0 else 0.0

    def pixel_bounds(self, size: Size) -> tuple[int, int, int, int]:
        """The whole pixels the box touches: (left, top, right, bottom), clipped to the image.

        Rounds outward, so a box never loses a pixel it covers in part. A tolerance of a millionth of a
        pixel keeps float noise from a unit conversion from claiming a pixel the box merely touches.
        """
        box = self.to(Unit.PIXEL, size).clip(size)
        eps = 1e-6
        left, top = math.floor(box.x1 + eps), math.floor(box.y1 + eps)
        right, bottom = math.ceil(box.x2 - eps), math.ceil(box.y2 - eps)
        return left, top, right, bottom

    def _check_unit(self, other: Box) -> None:
        if self.unit != other.unit:
            raise ValueError(
                f"boxes in {self.unit} and {other.unit} cannot be compared; convert one with .to()"
            )


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box that contains all of at least one box, all in one unit."""
    first = boxes[0]
    assert all(box.unit is first.unit for box in boxes), boxes
    return Box(
        min(box.x1 for box in boxes),
        min(box.y1 for box in boxes),
        max(box.x2 for box in boxes),
        max(box.y2 for box in boxes),
        first.unit,
    )


def _clamp(value: float, top: float) -> float:
    return min(max(value, 0.0), top)


def _per_side(unit: Unit, size: Size) -> tuple[float, float]:
    """How many of `unit` make up the width and the height."""
    match unit:
        case Unit.PIXEL:
            return float(size.width), float(size.height)
        case Unit.FRACTION:
            return 1.0, 1.0
        case Unit.RELATIVE:
            return 1000.0, 1000.0
