"""The budget of the cache: never exceeded, and what is found is what was put there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.core.byte_cache import ByteCache

SIZES = (3, 10, 40, 100, 250)
"""Bytes of the arrays; the key of one is its place here."""


def array(key: int) -> np.ndarray:
    return np.full(SIZES[key], key, np.uint8)


@given(
    budget=st.integers(0, 300),
    keys=st.lists(st.integers(0, len(SIZES) - 1), max_size=40),
    smaller=st.integers(0, 300),
)
def test_the_budget_is_never_exceeded_and_what_is_found_is_right(budget, keys, smaller):
    cache: ByteCache[int] = ByteCache(budget)
    for key in keys:
        found = cache.get(key)
        assert found is None or np.array_equal(found, array(key))
        cache.put(key, array(key))
        held = [k for k in range(len(SIZES)) if cache.get(k) is not None]
        assert cache.n_bytes == sum(SIZES[k] for k in held) <= budget
        assert (key in held) == (SIZES[key] <= budget)
    cache.resize(smaller)
    assert cache.n_bytes <= smaller
    cache.clear()
    assert cache.n_bytes == 0


def test_the_least_recently_used_leaves_first():
    cache: ByteCache[str] = ByteCache(2)
    one = np.zeros(1, np.uint8)
    cache.put("a", one)
    cache.put("b", one.copy())
    assert cache.get("a") is one
    cache.put("c", one.copy())
    assert cache.get("a") is one
    assert cache.get("b") is None


def test_a_key_keeps_its_first_array_read_only():
    cache: ByteCache[str] = ByteCache(10)
    first = np.zeros(4, np.uint8)
    cache.put("a", first)
    cache.put("a", np.zeros(4, np.uint8))
    assert cache.get("a") is first
    assert cache.n_bytes == 4
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


def test_threads_share_it():
    cache: ByteCache[int] = ByteCache(300)

    def work(seed: int) -> bool:
        right = True
        for key in np.random.default_rng(seed).integers(0, len(SIZES), 500).tolist():
            found = cache.get(key)
            right &= found is None or np.array_equal(found, array(key))
            cache.put(key, array(key))
            right &= cache.n_bytes <= 300
        return right

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))
