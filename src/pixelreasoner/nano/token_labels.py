"""Labels for per-token auxiliary supervision: the properties of the thing under each visual token.

Shape legend: M merged visual tokens of a picture in the tower's output order, C dot colours, K 1 + colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelreasoner.nano.question_answers import View, legible
from pixelreasoner.tasks.pixelworld.questions import holds_pair, side_of
from pixelreasoner.tasks.pixelworld.things import COLOURS, DIGITS, DOT_COLOURS, LETTERS, SIDES, Dot, Thing

NOUNS = ("card", "board", "row")
GLYPHS = (*LETTERS, *DIGITS)
COLOUR_NAMES = tuple(COLOURS)
TALLIES = tuple(str(n) for n in range(1, 10))
IGNORE = -100


@dataclass(frozen=True, eq=False)
class TokenLabels:
    """The labels of one view."""

    noun_M: npt.NDArray[np.int64]
    """0 nothing, then NOUNS."""
    colour_MK: npt.NDArray[np.float32]
    """Shares of 0 nothing, then COLOUR_NAMES: the thing's own and those of dots with their centre here."""
    glyph_M: npt.NDArray[np.int64]
    """0 none, then GLYPHS; IGNORE where a glyph is too small to read."""
    dots_MC: npt.NDArray[np.float32]
    """How many dots of that colour have their centre here; NaN off boards and where dots are too small."""
    tally_M: npt.NDArray[np.int64]
    """Of TALLIES, how many dots of the colour here the board has; IGNORE without dots of one colour."""
    side_M: npt.NDArray[np.int64]
    """Of SIDES, where the dot here lies as seen from the other one; IGNORE without such a pair."""
    box_M4: npt.NDArray[np.float32]
    """The thing's box as fractions of the picture; NaN where there is nothing."""
    at_M2: npt.NDArray[np.float32]
    """The token's own centre (x, y) as fractions of the picture; relations depend on it."""


def token_labels(view: View, factor: int) -> TokenLabels:
    """Return the labels of a view whose sides are multiples of `factor` (pixels per token)."""
    width, height = view.media.size
    columns, rows = width // factor, height // factor
    shape = (rows, columns)
    noun, glyph = (np.zeros(shape, np.int64) for _ in range(2))
    tally, side = (np.full(shape, IGNORE, np.int64) for _ in range(2))
    colour = np.zeros((*shape, 1 + len(COLOUR_NAMES)), np.float32)
    dots = np.full((*shape, len(DOT_COLOURS)), np.nan, np.float32)
    box = np.full((*shape, 4), np.nan, np.float32)
    claimed = np.zeros(shape)
    for thing in view.things:
        b = thing.box
        for r in range(max(0, int(b.y1 // factor)), min(rows, int(-(-b.y2 // factor)))):
            for c in range(max(0, int(b.x1 // factor)), min(columns, int(-(-b.x2 // factor)))):
                overlap = _overlap(b.x1, b.x2, c, factor) * _overlap(b.y1, b.y2, r, factor)
                # A thing smaller than a cell may lie in four cells: a fifth of it is enough.
                if overlap <= claimed[r, c] or overlap < min(0.08, 0.2 * b.area / factor**2):
                    continue
                claimed[r, c] = overlap
                noun[r, c] = 1 + NOUNS.index(thing.noun)
                colour[r, c] = 0
                colour[r, c, 1 + COLOUR_NAMES.index(thing.colour)] = 1
                box[r, c] = (b.x1 / width, b.y1 / height, b.x2 / width, b.y2 / height)
                glyph[r, c] = 0
                if thing.glyph:
                    glyph[r, c] = 1 + GLYPHS.index(thing.glyph) if legible(thing) else IGNORE
                dots[r, c] = 0 if thing.dots and legible(thing) else np.nan
        for (r, c), here in _dots_by_cell(thing, factor, shape).items():
            for dot in here:
                colour[r, c, 1 + COLOUR_NAMES.index(dot.colour)] = 1
                dots[r, c, DOT_COLOURS.index(dot.colour)] = sum(d.colour == dot.colour for d in here)
            if len({dot.colour for dot in here}) == 1:
                tally[r, c] = TALLIES.index(str(sum(d.colour == here[0].colour for d in thing.dots)))
                side[r, c] = _side(thing, here[0])
    colour[..., 0] = claimed == 0
    colour /= colour.sum(-1, keepdims=True)
    flat = rows * columns
    y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
    return TokenLabels(
        noun.reshape(flat),
        colour.reshape(flat, -1),
        glyph.reshape(flat),
        dots.reshape(flat, -1),
        tally.reshape(flat),
        side.reshape(flat),
        box.reshape(flat, 4),
        np.stack([x, y], -1).astype(np.float32).reshape(flat, 2),
    )


def _dots_by_cell(thing: Thing, factor: int, shape: tuple[int, int]) -> dict[tuple[int, int], list[Dot]]:
    """Return the legible dots, by the cell (row, column) of their centre."""
    cells: dict[tuple[int, int], list[Dot]] = {}
    for dot in thing.dots if legible(thing) else ():
        x, y = dot.box.center
        cell = min(shape[0] - 1, int(y // factor)), min(shape[1] - 1, int(x // factor))
        cells.setdefault(cell, []).append(dot)
    return cells


def _side(thing: Thing, dot: Dot) -> int:
    if not holds_pair(thing):
        return IGNORE
    (other,) = (d for d in thing.dots if d is not dot)
    return SIDES.index(side_of(dot, other))


def _overlap(low: float, high: float, cell: int, factor: int) -> float:
    """Return the share of a cell's side that [low, high] covers."""
    return max(0.0, min(high, (cell + 1) * factor) - max(low, cell * factor)) / factor
