"""Rules of the search for near hashes: the same pairs as comparing all."""

import numpy as np
import pytest

from pixelreasoner.core import near_hashes
from pixelreasoner.core.near_hashes import near_pairs
from pixelreasoner.core.perceptual_hash import distances


@pytest.mark.parametrize("radius", [0, 1, 8, 14])
@pytest.mark.parametrize("block", [7, 2**20])
def test_the_pairs_are_those_of_comparing_all(radius: int, block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(near_hashes, "BLOCK", block)
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2**64, 40, dtype=np.uint64)
    a[:20] = a[0] ^ (np.uint64(1) << np.arange(20, dtype=np.uint64))  # many that share bands
    b = np.concatenate([a[:30] ^ rng.integers(0, 2**12, 30, dtype=np.uint64), a[:5]])
    all_distances = distances(a[:, None], b[None, :])
    i, j, d = near_pairs(a, b, radius)
    assert set(zip(i, j, strict=True)) == set(zip(*np.nonzero(all_distances <= radius), strict=True))
    assert len(i) == len({*zip(i, j, strict=True)}) > 0
    assert np.array_equal(d, all_distances[i, j])


def test_of_nothing_there_are_no_pairs():
    nothing, one = np.empty(0, np.uint64), np.zeros(1, np.uint64)
    assert [len(x) for x in near_pairs(nothing, one, 8)] == [0, 0, 0]
    assert [len(x) for x in near_pairs(one, nothing, 8)] == [0, 0, 0]
