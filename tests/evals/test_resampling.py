"""Rules of the bootstrap, beside scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from pixelreasoner.evals.resampling import percentile_interval, resampled_means


def test_the_interval_is_scipys_up_to_the_draws():
    values = np.random.default_rng(1).random(200)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=9999, rng=2).confidence_interval
    found = percentile_interval(resampled_means(values[:, None])[:, 0])
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_the_columns_of_a_task_are_drawn_together():
    values = np.random.default_rng(1).random(30)
    draws = resampled_means(np.stack([values, 2 * values], axis=1))
    np.testing.assert_allclose(draws[:, 1], 2 * draws[:, 0])


def test_many_tasks_are_drawn_in_parts_and_there_are_as_many_draws():
    columns = np.ones((5000, 1))
    draws = resampled_means(columns, n_resamples=1700)
    assert draws.shape == (1700, 1)
    np.testing.assert_allclose(draws, 1.0)
