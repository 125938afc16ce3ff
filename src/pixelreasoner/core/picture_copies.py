"""Whether one picture is a copy of a region of another, by their thumbnails laid on each other.

Hashes see the whole and miss the detail: two photographs of the same place, with another small sign in
each, are near. A copy differs a little everywhere; another picture differs much somewhere.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.perceptual_hash import GRID, Region, Thumbnail

CELLS = 32
"""Cells of a side that are compared."""
DIFFERENT = 85.0
"""From this difference of a cell on, of 255 and the mean of its colours, two pictures are not the same."""
FURTHEST = 0.15
"""What is cut off at a side, at most."""
ALL: Region = (0.0, 1.0, 0.0, 1.0)
_BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
_STEPS = (0.03, 0.015, 0.0075, 0.004)
_Field = npt.NDArray[np.float32]


def largest_difference(whole: Thumbnail, part: Thumbnail, region: Region) -> float:
    """The largest difference of a cell, of 255, between a picture and a region of another at its best.

    Args:
        whole: of which the other one may be a copy in part.
        part: the whole of the other one.
        region: of `whole`, where the search begins.
    """
    best = _best_place(whole @ _BRIGHTNESS, part @ _BRIGHTNESS, region)
    colours = [
        np.abs(_cells(whole[..., c].astype(np.float32), best) - _cells(part[..., c].astype(np.float32), ALL))
        for c in range(3)
    ]
    return float(np.mean(colours, axis=0).max())


def _best_place(whole: _Field, part: _Field, region: Region) -> Region:
    """The region of a picture that another one is most like: down from `region`, a side at a time."""
    target = _cells(part, ALL)
    best, least = region, float(np.abs(_cells(whole, region) - target).mean())
    for step in _STEPS:
        moved = True
        while moved:
            moved = False
            for other in _neighbours(best, step):
                mean = float(np.abs(_cells(whole, other) - target).mean())
                if mean < least - 1e-3:
                    best, least, moved = other, mean, True
    return best


def _neighbours(region: Region, step: float) -> list[Region]:
    """Regions with one side moved by a step, within the picture."""
    out: list[Region] = []
    for side in range(4):
        low, high = (0.0, FURTHEST) if side % 2 == 0 else (1 - FURTHEST, 1.0)
        for by in (-step, step):
            value = min(high, max(low, region[side] + by))
            if value != region[side]:
                sides = list(region)
                sides[side] = value
                out.append((sides[0], sides[1], sides[2], sides[3]))
    return out


def _cells(picture: _Field, region: Region) -> _Field:
    """[CELLS, CELLS]: the means of a picture [GRID, GRID] over the cells of a region."""
    left, right, top, bottom = region
    rows = _overlaps(top, bottom) @ picture
    return (rows @ _overlaps(left, right).T).astype(np.float32, copy=False)


@lru_cache(maxsize=1024)
def _overlaps(low: float, high: float) -> _Field:
    """[CELLS, GRID]: the share of each cell of a span that lies in each cell of the picture."""
    ours = low + (high - low) * np.linspace(0, 1, CELLS + 1)
    theirs = np.linspace(0, 1, GRID + 1)
    begin = np.maximum(ours[:-1, None], theirs[None, :-1])
    end = np.minimum(ours[1:, None], theirs[None, 1:])
    return (np.clip(end - begin, 0, None) * CELLS / (high - low)).astype(np.float32)
