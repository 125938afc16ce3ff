"""All pairs of 64-bit hashes within a number of bits, without comparing every pair.

Of two hashes that differ in at most r bits, at least one of r + 1 bands of bits is the same in both. The
first hashes are sorted by each band; each of the second is compared with those that share the band.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.perceptual_hash import Hashes, distances

BLOCK = 2**20
"""Pairs compared at a time: some 50 MB."""
Indices = npt.NDArray[np.int64]


def near_pairs(a: Hashes, b: Hashes, radius: int) -> tuple[Indices, Indices, Indices]:
    """Every pair within `radius` bits, once: the place in `a`, the place in `b`, the distance."""
    found: list[Indices] = [np.empty((3, 0), np.int64)]
    edges = np.linspace(0, 64, radius + 2).astype(int)
    for low, high in pairwise(edges):
        found += _sharing_band(a, b, int(low), int(high), radius)
    pairs = np.concatenate(found, axis=1)
    _, first = np.unique(pairs[0] * max(1, len(b)) + pairs[1], return_index=True)
    i, j, d = pairs[:, first]
    return i, j, d


def _sharing_band(a: Hashes, b: Hashes, low: int, high: int, radius: int) -> Iterator[Indices]:
    """Yield the pairs within the radius whose bits from `low` to `high` are the same, [3, n] at a time."""
    mask = np.uint64((1 << (high - low)) - 1)
    band_a, band_b = (a >> np.uint64(low)) & mask, (b >> np.uint64(low)) & mask
    order = np.argsort(band_a, kind="stable")
    start = np.searchsorted(band_a[order], band_b, side="left")
    size = np.searchsorted(band_a[order], band_b, side="right") - start
    ends = np.cumsum(size)
    at = 0
    while at < len(b):
        done = ends[at - 1] if at else 0
        until = max(at + 1, int(np.searchsorted(ends, done + BLOCK, side="right")))
        here = size[at:until]
        j = np.repeat(np.arange(at, until), here)
        within = np.arange(len(j)) - np.repeat(np.cumsum(here) - here, here)
        i = order[np.repeat(start[at:until], here) + within]
        d = distances(a[i], b[j])
        near = d <= radius
        yield np.stack([i[near], j[near], d[near]])
        at = until
