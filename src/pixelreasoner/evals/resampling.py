"""Percentile bootstrap over tasks (Efron 1979): how far a figure would move with other tasks of the same
kind.

The draws are seeded, so that the same records give the same intervals.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

N_RESAMPLES = 2000
SEED = 0
_BLOCK = 2**21
"""Numbers drawn at a time, at most."""

Floats = npt.NDArray[np.float64]


def resampled_means(columns: Floats, *, n_resamples: int = N_RESAMPLES, seed: int = SEED) -> Floats:
    """Means of tasks drawn with replacement, the columns of one task always together.

    Args:
        columns: [tasks, k].
        n_resamples: how often.
        seed: of the draws.

    Returns:
        [n_resamples, k].
    """
    n = len(columns)
    assert n > 0, "there is nothing to draw from"
    rng = np.random.default_rng(seed)
    at_once = max(1, _BLOCK // n)
    parts: list[Floats] = []
    for start in range(0, n_resamples, at_once):
        drawn = rng.integers(n, size=(min(at_once, n_resamples - start), n))
        parts.append(np.stack([column[drawn].mean(axis=1) for column in columns.T], axis=1))
    return np.concatenate(parts)


def percentile_interval(draws: Floats) -> tuple[float, float]:
    """The 95 % percentile interval of resampled values [n_resamples]."""
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)
