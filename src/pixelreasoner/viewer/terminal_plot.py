"""Curves on a terminal, in braille: a character is two dots wide and four high."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.text import Text

from pixelreasoner.core.metrics_file import Curve

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, by row and column."""
_BLANK = 0x2800
LABEL = 11
"""Characters left of the canvas: a number and the axis."""


def plot_text(
    curves: Mapping[str, Curve], *, title: str, styles: Mapping[str, str], width: int, height: int = 8
) -> Text:
    """One metric of several runs, with its range at the left and the steps below.

    Args:
        curves: by run; the first ones lie on top.
        title: what the values are.
        styles: a rich style for each run.
        width: characters in all.
        height: lines of the canvas.
    """
    points = [(s, v) for c in curves.values() for s, v in zip(c.steps, c.values, strict=True)]
    points = [(s, v) for s, v in points if math.isfinite(v)]
    text = Text(title, style="bold", end="")
    if not points:
        return text.append("\n(no finite values)", style="dim")
    x_range = min(s for s, _ in points), max(s for s, _ in points)
    y_range = _widened(min(v for _, v in points), max(v for _, v in points))
    canvas = _Canvas(max(8, width - LABEL), height)
    for name in reversed(list(curves)):
        canvas.draw(curves[name], x_range, y_range, styles[name])
    for row in range(height):
        label = y_range[1] if row == 0 else y_range[0] if row == height - 1 else None
        text.append(f"\n{'' if label is None else f'{label:.3g}':>{LABEL - 2}} ┤", style="not bold dim")
        text.append_text(canvas.line(row))
    first, last = str(x_range[0]), str(x_range[1])
    gap = max(1, canvas.width - len(first) - len(last))
    return text.append(f"\n{'':{LABEL}}{first}{'':{gap}}{last}", style="not bold dim")


class _Canvas:
    """Characters with the dots set so far, and the style of what was drawn last in each."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._dots = [[0] * width for _ in range(height)]
        self._styles = [[""] * width for _ in range(height)]

    def draw(
        self, curve: Curve, x_range: tuple[float, float], y_range: tuple[float, float], style: str
    ) -> None:
        """Draw a curve as a line; a value that is not finite leaves a gap."""
        before: tuple[int, int] | None = None
        for step, value in zip(curve.steps, curve.values, strict=True):
            if not math.isfinite(value):
                before = None
                continue
            x = _scaled(step, *x_range, 2 * self.width - 1)
            y = 4 * self.height - 1 - _scaled(value, *y_range, 4 * self.height - 1)
            x0, y0 = before or (x, y)
            n = max(abs(x - x0), abs(y - y0), 1)
            for i in range(n + 1):
                self._set(round(x0 + (x - x0) * i / n), round(y0 + (y - y0) * i / n), style)
            before = x, y

    def _set(self, x: int, y: int, style: str) -> None:
        row, column = y // 4, x // 2
        if self._styles[row][column] != style:
            # A character has one colour: what lies on top takes it whole.
            self._dots[row][column], self._styles[row][column] = 0, style
        self._dots[row][column] |= _DOTS[y % 4][x % 2]

    def line(self, row: int) -> Text:
        """One row of characters."""
        text = Text()
        for dots, style in zip(self._dots[row], self._styles[row], strict=True):
            text.append(chr(_BLANK + dots) if dots else " ", style=f"not bold {style}".strip())
        return text


def _widened(low: float, high: float) -> tuple[float, float]:
    """The range itself, or one around a single value."""
    if high > low:
        return low, high
    margin = abs(low) * 0.05 or 0.5
    return low - margin, high + margin


def _scaled(value: float, low: float, high: float, size: int) -> int:
    """`value` in a range as a whole number from 0 to `size`."""
    return round((value - low) / (high - low) * size) if high > low else 0
