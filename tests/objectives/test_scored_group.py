"""Rewards of a group are the sums of its terms; advantages follow from them."""

from __future__ import annotations

import pytest

from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory
from pixelreasoner.objectives.scored_group import imitation, score_group

ROLLOUT = Trajectory(Task("t", "Q?", (), ("A",)), (), StopReason.ANSWER)
THREE = (ROLLOUT, ROLLOUT, ROLLOUT)


def test_rewards_are_the_sums_of_the_terms():
    group = score_group(
        THREE, {"correctness": [1.0, 0.0, 1.0], "penalty": [-0.25, 0.0, 0.0]}, scale="none", scores=[1, 0, 1]
    )
    assert group.rewards == (0.75, 0.0, 1.0)
    assert group.advantages == pytest.approx((1 / 6, -7 / 12, 5 / 12))  # the mean is 7/12
    assert group.terms == {"correctness": (1.0, 0.0, 1.0), "penalty": (-0.25, 0.0, 0.0)}
    assert group.scores == (1, 0, 1)


def test_the_correctness_scale_reads_the_term_of_that_name():
    terms = {"correctness": [0.5, 0.0, 0.0], "bonus": [0.0, 0.1, 0.0]}
    group = score_group(THREE, terms, scale="correctness")
    # std of correctness: 0.5 * sqrt(2)/3 = 0.2357, below the sqrt(2)/3 = 0.4714 of one whole right answer.
    assert group.advantages == pytest.approx((0.3 * 3 / 2**0.5, -0.1 * 3 / 2**0.5, -0.2 * 3 / 2**0.5))


def test_a_group_is_informative_when_a_reward_differs():
    assert score_group(THREE, {"reward": [1.0, 0.0, 0.0]}, scale="std").informative
    assert not score_group(THREE, {"reward": [1.0, 1.0, 1.0]}, scale="std").informative


def test_every_trajectory_needs_a_reward():
    with pytest.raises(AssertionError, match="3 trajectories but 2 rewards"):
        score_group(THREE, {"reward": [1.0, 0.0]}, scale="std")


def test_what_is_imitated_is_a_group_of_one_with_advantage_one():
    group = imitation(ROLLOUT)
    assert group.trajectories == (ROLLOUT,)
    assert group.advantages == (1.0,)
    assert group.informative
