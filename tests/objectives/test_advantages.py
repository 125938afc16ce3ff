"""Group advantages by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.objectives.advantages import group_advantages


def test_one_right_of_four():
    # mean 1/4; population variance (9/16 + 3 * 1/16) / 4 = 3/16
    std = (3 / 16) ** 0.5
    expected = [0.75 / std, -0.25 / std, -0.25 / std, -0.25 / std]
    np.testing.assert_allclose(group_advantages([1, 0, 0, 0], scale="std"), expected, rtol=1e-5)
    np.testing.assert_allclose(group_advantages([1, 0, 0, 0], scale="none"), [0.75, -0.25, -0.25, -0.25])


@pytest.mark.parametrize("scale", ["std", "none", "correctness"])
@pytest.mark.parametrize("rewards", [[], [1.0], [0.0] * 8, [0.1 + 0.2, 0.3, 0.3], [1.0875] * 8])
def test_no_variance_is_exactly_zero(rewards, scale):
    assert group_advantages(rewards, scale=scale, correctness=rewards).tolist() == [0.0] * len(rewards)


def test_the_std_blows_a_small_cost_up_and_the_correctness_scale_does_not():
    """All eight answers are right; one rollout pays beta = 0.05 for its second operation."""
    rewards, right = [0.95] + [1.0] * 7, [1.0] * 8
    # Centred: -0.04375 and 0.00625; std 0.05 * sqrt(7)/8.
    assert group_advantages(rewards, scale="std")[0] == pytest.approx(-(7**0.5), rel=1e-3)  # -2.65
    scaled = group_advantages(rewards, scale="correctness", correctness=right)
    np.testing.assert_allclose(scaled, np.array([-0.04375] + [0.00625] * 7) / (7**0.5 / 8))  # -0.132


def test_the_correctness_scale_by_hand():
    # Two right of four, std 1/2; the first wrong one has a bonus of 0.1: rewards 1, 1, 0.1, 0, mean 0.525.
    scaled = group_advantages([1, 1, 0.1, 0], scale="correctness", correctness=[1, 1, 0, 0])
    np.testing.assert_allclose(scaled, [0.95, 0.95, -0.85, -1.05])
    # A bonus of 0.1 is worth 0.1 / 0.5 beside the 1 / 0.5 of a right answer.
    assert scaled[2] - scaled[3] == pytest.approx(0.2)


def test_a_group_that_agrees_is_scaled_as_one_that_nearly_agrees():
    """One right of G has std sqrt(G - 1) / G; none right takes the same, so alpha means the same in both."""
    bonus = [0.0875] + [0.0] * 7
    one_right = group_advantages([*bonus[:7], 1.0], scale="correctness", correctness=[0] * 7 + [1])
    none_right = group_advantages(bonus, scale="correctness", correctness=[0] * 8)
    assert one_right[0] - one_right[1] == pytest.approx(0.0875 * 8 / 7**0.5)
    assert none_right[0] - none_right[1] == pytest.approx(0.0875 * 8 / 7**0.5)
    # Scores that differ by little: std 0.005, which would make 2 of a difference of 0.01.
    close = group_advantages([0.9, 0.91], scale="correctness", correctness=[0.9, 0.91])
    assert close.tolist() == pytest.approx([-0.01, 0.01])


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=16))
def test_advantages_are_centred_ordered_and_bounded(rewards):
    a = group_advantages(rewards, scale="std")
    assert abs(a.sum()) < 1e-6
    assert np.abs(a).max() <= len(rewards) ** 0.5
    order = np.argsort(rewards, kind="stable")
    assert (np.diff(a[order]) >= 0).all()
