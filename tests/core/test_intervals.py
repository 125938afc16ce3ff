"""Rules of intervals, against scipy's."""

import math

import pytest
from scipy.stats import binomtest

from pixelreasoner.core.intervals import paired_interval, wilson_interval


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (7, 10), (105, 150), (1, 1)])
def test_the_interval_is_scipys_wilson_interval(k: int, n: int):
    theirs = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(k / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_an_interval_stays_within_the_shares_there_can_be():
    assert wilson_interval(0.0, 3)[0] == 0.0
    assert wilson_interval(1.0, 3)[1] == 1.0
    assert wilson_interval(0.0, 150)[1] == pytest.approx(0.02497, abs=1e-5)


def test_a_paired_difference_by_hand():
    # 12 gained, 3 lost of 48; after one of each is added they are 13/50 and 4/50.
    spread = 1.959963984540054 * math.sqrt((0.34 - 0.18**2) / 50)
    assert paired_interval(12, 3, 48) == pytest.approx((0.18 - spread, 0.18 + spread))
    assert spread == pytest.approx(0.15373, abs=1e-5)


def test_a_paired_difference_turns_its_sign_with_the_runs():
    low, high = paired_interval(12, 3, 48)
    assert paired_interval(3, 12, 48) == pytest.approx((-high, -low))


def test_a_paired_difference_has_a_width_where_nothing_changed_and_stays_in_its_range():
    low, high = paired_interval(0, 0, 50)
    assert low == pytest.approx(-high)
    assert high == pytest.approx(1.959963984540054 * math.sqrt(2 / 52 / 52))
    assert paired_interval(1, 0, 1)[1] == 1.0
