"""Rules of intervals, against scipy's."""

import pytest
from scipy.stats import binomtest

from pixelreasoner.core.intervals import wilson_interval


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (7, 10), (105, 150), (1, 1)])
def test_the_interval_is_scipys_wilson_interval(k: int, n: int):
    theirs = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(k / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_an_interval_stays_within_the_shares_there_can_be():
    assert wilson_interval(0.0, 3)[0] == 0.0
    assert wilson_interval(1.0, 3)[1] == 1.0
    assert wilson_interval(0.0, 150)[1] == pytest.approx(0.02497, abs=1e-5)
