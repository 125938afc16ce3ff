"""Dense labels: what each language-model token of a picture should know about the thing under it.

Shape legend: M merged visual tokens of one picture, in the tower's output order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelreasoner.data.pixelworld.lessons import LEGIBLE_DOT_PX, View, legible
from pixelreasoner.data.pixelworld.things import COLOURS, DIGITS, DOT_COLOURS, LETTERS

NOUNS = ("card", "board", "row")
GLYPHS = (*LETTERS, *DIGITS)
COLOUR_NAMES = tuple(COLOURS)
IGNORE = -100


@dataclass(frozen=True, eq=False)
class DenseLabels:
    noun_M: npt.NDArray[np.int64]
    """0 nothing, then NOUNS."""
    colour_M: npt.NDArray[np.int64]
    """0 nothing, then COLOUR_NAMES."""
    glyph_M: npt.NDArray[np.int64]
    """0 none, then GLYPHS; IGNORE where a glyph is too small to read."""
    dots_MC: npt.NDArray[np.float32]
    """How many dots of that colour have their centre in the cell; NaN where dots are too small."""
    box_M4: npt.NDArray[np.float32]
    """The thing's box as fractions of the picture; NaN where there is nothing."""
    at_M2: npt.NDArray[np.float32]
    """The token's own centre (x, y) as fractions of the picture: what relations are read from."""


def dense_labels(view: View, factor: int) -> DenseLabels:
    """Labels of a view whose sides are multiples of `factor` (pixels per token)."""
    width, height = view.media.size
    columns, rows = width // factor, height // factor
    shape = (rows, columns)
    noun, colour, glyph = (np.zeros(shape, np.int64) for _ in range(3))
    dots = np.zeros((*shape, len(DOT_COLOURS)), np.float32)
    box = np.full((*shape, 4), np.nan, np.float32)
    claimed = np.zeros(shape)
    for thing in view.things:
        b = thing.box
        for r in range(max(0, int(b.y1 // factor)), min(rows, int(-(-b.y2 // factor)))):
            for c in range(max(0, int(b.x1 // factor)), min(columns, int(-(-b.x2 // factor)))):
                overlap = _overlap(b.x1, b.x2, c, factor) * _overlap(b.y1, b.y2, r, factor)
                # A thing smaller than a cell may be shared by four: a fifth of it is enough to be told.
                if overlap <= claimed[r, c] or overlap < min(0.08, 0.2 * b.area / factor**2):
                    continue
                claimed[r, c] = overlap
                noun[r, c] = 1 + NOUNS.index(thing.noun)
                colour[r, c] = 1 + COLOUR_NAMES.index(thing.colour)
                box[r, c] = (b.x1 / width, b.y1 / height, b.x2 / width, b.y2 / height)
                glyph[r, c] = 0
                if thing.glyph:
                    glyph[r, c] = 1 + GLYPHS.index(thing.glyph) if legible(thing) else IGNORE
                if thing.dots and thing.detail_px < LEGIBLE_DOT_PX:
                    dots[r, c] = np.nan
        for dot in thing.dots if thing.detail_px >= LEGIBLE_DOT_PX else ():
            x, y = dot.box.center
            r, c = min(rows - 1, int(y // factor)), min(columns - 1, int(x // factor))
            dots[r, c, DOT_COLOURS.index(dot.colour)] += 1.0
    flat = rows * columns
    y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
    return DenseLabels(
        noun.reshape(flat),
        colour.reshape(flat),
        glyph.reshape(flat),
        dots.reshape(flat, -1),
        box.reshape(flat, 4),
        np.stack([x, y], -1).astype(np.float32).reshape(flat, 2),
    )


def _overlap(low: float, high: float, cell: int, factor: int) -> float:
    """The share of a cell's side that [low, high] covers."""
    return max(0.0, min(high, (cell + 1) * factor) - max(low, cell * factor)) / factor
