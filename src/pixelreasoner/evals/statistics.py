"""Intervals and paired tests: pure functions of scores, one number per task.

The task is the unit everywhere. With k rollouts per task, a task's value is the mean over its rollouts: they
are not independent of each other, and counting each of them would make every interval too narrow
(clustered data; Miller, arXiv 2411.00640).

Shape legend: N tasks, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Values = Sequence[float] | npt.NDArray[np.float64]
RESAMPLES = 10_000
"""Of a bootstrap and of a sign-flip test."""
SEED = 0
"""Of their random numbers: the same scores give the same interval."""
_CELLS = 2**20
"""Of a table of random numbers that is made at once."""
_COST_OF_A_COUNT = 20
"""Random indices or signs that cost as much as one binomial count."""


def standard_error(values_N: Values) -> float:
    """The standard error of the mean: sqrt(sum((x - mean)^2)) / N.

    Of zeros and ones with mean p it is sqrt(p (1 - p) / N).
    """
    x = np.asarray(values_N, dtype=np.float64)
    assert len(x) > 0
    return float(np.sqrt(np.mean((x - x.mean()) ** 2) / len(x)))


def bootstrap_interval(
    values_N: Values, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean (Efron & Tibshirani 1993, section 13.3).

    Of differences of paired values this is the paired bootstrap. The order of the values does not matter.

    A sample of equal values gives an interval of length 0: a bootstrap does not know what it has not seen.
    """
    means_R = _resampled_means(np.asarray(values_N, dtype=np.float64), resamples, seed)
    tail = (1 - level) / 2
    low, high = np.quantile(means_R, [tail, 1 - tail])
    return float(low), float(high)


def _resampled_means(values_N: npt.NDArray[np.float64], resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Means of R samples of N values, drawn with replacement.

    They depend only on how often each distinct value is drawn. These counts are multinomial, and of a few
    distinct values much cheaper to draw than N indices.
    """
    n = len(values_N)
    assert n > 0
    distinct_U, counts_U = np.unique(values_N, return_counts=True)
    rng = np.random.default_rng(seed)
    if len(distinct_U) <= max(2, n // _COST_OF_A_COUNT):
        return rng.multinomial(n, counts_U / n, size=resamples) @ distinct_U / n
    ordered_N = np.sort(values_N)
    return np.concatenate(
        [ordered_N[rng.integers(0, n, (rows, n))].mean(axis=1) for rows in _rows(resamples, n)]
    )


def _rows(resamples: int, n: int) -> list[int]:
    """How many resamples of n values to make at a time, in a table of bounded size."""
    most = max(1, _CELLS // n)
    return [min(most, resamples - start) for start in range(0, resamples, most)]


def pass_at_k(n: int, n_right: int, k: int) -> float:
    """The probability that at least one of k rollouts is right, without bias, from n of which some are.

    1 - C(n - c, k) / C(n, k): equation 1 of Chen et al. 2021 (arXiv 2107.03374).
    """
    assert 0 <= n_right <= n, (n_right, n)
    assert 1 <= k <= n, (k, n)
    return 1.0 - math.comb(n - n_right, k) / math.comb(n, k)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """The p-value of McNemar's test, two-sided and exact, from the discordant pairs.

    Where the models do not differ, each of the n = a + b tasks that one alone gets right is either's with
    probability 1/2: p = min(1, 2 P(X <= min(a, b))), X binomial(n, 1/2) (McNemar 1947; exact form as in
    Agresti, Categorical Data Analysis, section 10.1). 1 where there is none.
    """
    assert only_a >= 0 <= only_b
    n = only_a + only_b
    term, total = 1, 0
    for i in range(min(only_a, only_b) + 1):
        total += term
        term = term * (n - i) // (i + 1)
    # Whole numbers of any length: their quotient is exact to the last bit.
    return min(1.0, 2 * total / 2**n)


def sign_flip(differences_N: Values, *, resamples: int = RESAMPLES, seed: int = SEED) -> float:
    """The p-value of a paired randomisation test of mean difference 0, two-sided (Fisher 1935, section 21).

    Where the models do not differ, each difference has either sign with probability 1/2. Of differences that
    are -1, 0 or 1 the test is McNemar's; here it is drawn, for differences of any size:
    p = (1 + draws at least as far from 0) / (1 + R), so that it is never 0.
    """
    size_N = np.sort(np.abs(np.asarray(differences_N, dtype=np.float64)))
    observed = abs(float(np.sum(differences_N)))
    sizes_U, counts_U = np.unique(size_N[size_N > 0], return_counts=True)
    rng = np.random.default_rng(seed)
    if len(sizes_U) <= max(2, len(size_N) // _COST_OF_A_COUNT):
        total_R = (2.0 * rng.binomial(counts_U, 0.5, (resamples, len(sizes_U))) - counts_U) @ sizes_U
    else:
        rows_of = _rows(resamples, len(size_N))
        total_R = np.concatenate(
            [(2.0 * rng.integers(0, 2, (rows, len(size_N)), np.int8) - 1) @ size_N for rows in rows_of]
        )
    # Sums of the same numbers in another order differ in their last bits.
    at_least = np.count_nonzero(np.abs(total_R) >= observed - 1e-9 * max(1.0, observed))
    return (1 + int(at_least)) / (1 + resamples)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of several p-values (Holm 1979), in the order given.

    Rejecting where the adjusted value is at most 0.05 keeps the probability of any false rejection there.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
