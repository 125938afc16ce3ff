"""Intervals of shares: how far a figure from n tasks can be trusted."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""The standard normal's 97.5 % quantile."""


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share of `n` tasks.

    Unlike share ± 1.96 standard errors it stays within [0, 1], and has a width at 0 and 1. Scores between 0
    and 1 vary less than right and wrong do with the same mean: for them the interval is at least as wide as
    it should be.
    """
    assert 0 <= share <= 1, share
    assert n > 0, n
    middle = share + Z_95**2 / (2 * n)
    spread = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    total = 1 + Z_95**2 / n
    low = 0.0 if share == 0 else (middle - spread) / total
    high = 1.0 if share == 1 else (middle + spread) / total
    return low, high


def paired_interval(n_gained: int, n_lost: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of (gained - lost) / n, the difference of two shares of the same `n` tasks.

    The adjusted Wald interval of Bonett and Price (2012, J. Educ. Behav. Stat. 37, 479): one task is added to
    each of the two discordant counts. It has a width where no task changed, and stays within [-1, 1].

    Args:
        n_gained: tasks right in the first run and wrong in the second.
        n_lost: the reverse.
        n: all tasks.
    """
    assert n_gained >= 0, n_gained
    assert n_lost >= 0, n_lost
    assert n >= max(1, n_gained + n_lost), n
    gained, lost = (n_gained + 1) / (n + 2), (n_lost + 1) / (n + 2)
    spread = Z_95 * math.sqrt((gained + lost - (gained - lost) ** 2) / (n + 2))
    return max(-1.0, gained - lost - spread), min(1.0, gained - lost + spread)
