"""Intervals and tests against values by hand, enumeration, and results of scipy 1.17."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelreasoner.evals.statistics import (
    bootstrap_interval,
    holm,
    mcnemar_exact,
    pass_at_k,
    sign_flip,
    standard_error,
)


def test_the_standard_error_of_a_share_is_the_textbooks():
    assert standard_error([1, 1, 1, 0]) == pytest.approx(math.sqrt(0.75 * 0.25 / 4))
    # Scores between 0 and 1 vary less than right and wrong do: here not at all.
    assert standard_error([0.5, 0.5]) == 0.0


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),  # 2 * 1/2
        (0, 5, 2 / 32),
        (1, 5, 2 * (1 + 6) / 64),
        (3, 3, 1.0),  # twice the lower half is more than 1
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        # scipy.stats.binomtest(12, 40).pvalue
        (12, 28, 0.01658900337497471),
    ],
)
def test_mcnemar_by_hand(only_a: int, only_b: int, p: float):
    assert mcnemar_exact(only_a, only_b) == pytest.approx(p, rel=1e-12)
    assert mcnemar_exact(only_b, only_a) == mcnemar_exact(only_a, only_b)


def test_mcnemar_of_a_benchmark_of_fifteen_thousand():
    # The normal approximation with continuity correction: z = (|b - c| - 1) / sqrt(b + c).
    b, c = 7_400, 7_600
    z = (abs(b - c) - 1) / math.sqrt(b + c)
    assert mcnemar_exact(b, c) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)


@given(st.integers(1, 12), st.data())
def test_pass_at_k_is_the_share_of_choices_that_hold_a_right_one(n: int, data: st.DataObject):
    right = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    rollouts = [True] * right + [False] * (n - right)
    choices = list(itertools.combinations(rollouts, k))
    share = Fraction(sum(any(choice) for choice in choices), len(choices))
    assert pass_at_k(n, right, k) == pytest.approx(float(share))


def test_pass_at_k_by_hand():
    assert pass_at_k(4, 2, 1) == 0.5
    # All pairs of 4 but the one of both wrong ones.
    assert pass_at_k(4, 2, 2) == pytest.approx(5 / 6)
    assert pass_at_k(4, 2, 3) == 1.0
    assert pass_at_k(32, 0, 32) == 0.0


def test_the_bootstrap_of_a_share_is_binomial():
    """161 of 191: the resampled count is binomial(191, 161/191); scipy's quantiles are 151 and 171."""
    low, high = bootstrap_interval([1.0] * 161 + [0.0] * 30)
    assert low * 191 == pytest.approx(151, abs=1)
    assert high * 191 == pytest.approx(171, abs=1)
    assert bootstrap_interval([1.0] * 161 + [0.0] * 30) == (low, high)
    assert bootstrap_interval([0.0] * 30 + [1.0] * 161) == (low, high)


def test_the_bootstrap_is_that_of_resampled_indices():
    values = np.random.default_rng(5).random(60)
    rng = np.random.default_rng(6)
    means = values[rng.integers(0, 60, (10_000, 60))].mean(axis=1)
    assert bootstrap_interval(values) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.004)


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_an_interval_stays_within_the_values(values: list[float]):
    low, high = bootstrap_interval(values, resamples=500)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = rng.random((200, 100)) < 0.7
    hits = 0
    for values in samples:
        low, high = bootstrap_interval(values.astype(float), resamples=1000)
        hits += low <= 0.7 <= high
    # 95 % of 200 is 190 with a standard deviation of 3; the percentile interval is a little too narrow.
    assert 178 <= hits <= 200


def test_flipping_signs_is_mcnemar_where_answers_are_right_or_wrong():
    differences = [1.0] * 12 + [-1.0] * 28 + [0.0] * 100
    assert sign_flip(differences) == pytest.approx(mcnemar_exact(12, 28), abs=0.004)


def test_flipping_signs_is_the_enumeration_of_all_signs():
    differences = [0.25, 0.5, -0.25, 0.75, 1.0, 0.5]
    observed = sum(differences)
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in itertools.product((-1, 1), repeat=6)
    ]
    exact = sum(abs(s) >= observed - 1e-12 for s in sums) / 64
    assert sign_flip(differences) == pytest.approx(exact, abs=0.012)
    assert sign_flip([0.0, 0.0]) == 1.0


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.04: times 3, 2, 1 = 0.03, 0.04, 0.04.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    # Times 2 and 1, and never falling below an earlier one.
    assert holm([0.03, 0.04]) == pytest.approx([0.06, 0.06])
    assert holm([0.7, 0.8]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
