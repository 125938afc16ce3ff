"""Hashes that copies of a picture share: scaled, compressed again, or with a little cut off its sides.

A picture is reduced to a thumbnail. The hash of a region of it is that of pHash (C. Zauner, "Implementation
and Benchmarking of Perceptual Image Hash Functions", 2010): 8 x 8 cosine coefficients of the brightness, the
lowest but the constant ones, each compared with their median. The coefficients are integrals over the region
of a picture that is constant within each cell, so that regions need not end where cells do.

A copy with its sides cut off is the copy of a region. Each picture has a hash for the whole and for 15
regions (`REGIONS`); two pictures are candidates where the whole of one is near to any region of the other.
`core.picture_copies` then looks at the pixels.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelreasoner.core.media import Picture

GRID = 64
"""Cells of a thumbnail's side."""
SIDE = 8
"""Coefficients per side: the hash has 64 bits."""
CUT = 0.05
"""What the regions lack at a side, as a share of the picture's length there."""
RADIUS = 8
"""Bits in which the hashes of two candidates differ at most."""
FLAT = 2.0
"""The standard deviation of the brightness, of 255, below which a picture shows nothing to tell it by."""

Thumbnail = npt.NDArray[np.uint8]
"""[GRID, GRID, 3], RGB, whatever the aspect ratio."""
Hashes = npt.NDArray[np.uint64]
Region = tuple[float, float, float, float]
"""Left, right, top, bottom, as shares of the sides."""

_SPANS = ((0.0, 1.0), (0.0, 1 - CUT), (CUT, 1.0), (CUT, 1 - CUT))
REGIONS: tuple[Region, ...] = tuple((*across, *down) for down in _SPANS for across in _SPANS)
"""The whole picture, and what is left of it with 5 % cut off some of its sides."""
_BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)


def thumbnail(picture: Picture) -> Thumbnail:
    """A picture scaled to `GRID` x `GRID`.

    Raises:
        MediaError: its pixels cannot be had.
    """
    image = Image.fromarray(picture.pixels)
    shrinks = min(image.size) >= 2 * GRID
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(image.resize((GRID, GRID), method))


def region_hashes(thumb: Thumbnail) -> Hashes | None:
    """The hashes of `REGIONS`, uint64 [16], the whole first; None of a picture that is flat."""
    brightness = thumb.astype(np.float32) @ _BRIGHTNESS
    if float(brightness.std()) < FLAT:
        return None
    n = len(_SPANS)
    waves = _all_waves()
    coefficients = (waves @ brightness @ waves.T).reshape(n, SIDE, n, SIDE).transpose(0, 2, 1, 3)
    each = coefficients.reshape(len(REGIONS), SIDE * SIDE)
    bits = each > np.median(each, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


@cache
def _all_waves() -> npt.NDArray[np.float32]:
    return np.concatenate([_waves(low, high) for low, high in _SPANS]).astype(np.float32)


def _waves(low: float, high: float) -> npt.NDArray[np.float64]:
    """[SIDE, GRID]: the integrals over each cell of the cosines that the span from `low` to `high` holds."""
    edges = np.linspace(0, 1, GRID + 1).clip(low, high)
    order = np.arange(1, SIDE + 1)[:, None]
    return np.diff(np.sin(np.pi * order * (edges - low) / (high - low)) / (np.pi * order), axis=1)


def distances(a: Hashes, b: Hashes) -> npt.NDArray[np.int64]:
    """In how many bits hashes differ, pair by pair (arrays that broadcast)."""
    x = a ^ b
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return ((x * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.int64)
