"""The paper's reward by hand: alpha = 0.5, beta = 0.05, H = 0.3, N = 1."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Group, Observation, StopReason, Trajectory, Turn
from pixelreasoner.rewards.curiosity import CuriosityConfig, RewardTerms, curiosity_rewards

TASK = Task("t", "Q?", (Picture(np.zeros((2, 2, 3), np.uint8)),), ("A",))
PAPER = CuriosityConfig()


def rollout_of(n_valid: int, n_invalid: int = 0) -> Trajectory:
    good = Turn("crop", ToolCall("crop_image"), Observation("ok"))
    bad = Turn("crop", ToolCall("crop_image"), Observation("no such image", valid=False))
    turns = (*[bad] * n_invalid, *[good] * n_valid, Turn("done"))
    return Trajectory(TASK, turns, StopReason.ANSWER, "A")


def group_of(n_operating: int, size: int = 8) -> Group:
    return tuple(rollout_of(1 if i < n_operating else 0) for i in range(size))


@pytest.mark.parametrize(
    ("n_operating", "bonus"),
    [
        (0, None),  # nobody to pay
        (1, 0.0875),  # 0.5 * (0.3 - 0.125), the paper's largest bonus at 8 rollouts
        (2, 0.025),  # 0.5 * (0.3 - 0.25)
        (3, 0.0),  # 0.375 is above H
        (8, 0.0),
    ],
)
def test_bonus_by_rate(n_operating, bonus):
    group = group_of(n_operating)
    terms = curiosity_rewards([0.0] * 8, group, PAPER)
    for y, term in zip(group, terms, strict=True):
        assert term.curiosity == (pytest.approx(bonus) if y.used_pixel_space else 0.0)
        assert term.penalty == 0.0


def test_the_bonus_ends_exactly_at_H():
    terms = curiosity_rewards([0.0] * 10, group_of(3, size=10), PAPER)
    assert [t.curiosity for t in terms] == [0.0] * 10
    just_below = curiosity_rewards([0.0] * 10, group_of(2, size=10), PAPER)
    assert just_below[0].curiosity == pytest.approx(0.05)  # 0.5 * (0.3 - 0.2)


@pytest.mark.parametrize(("n_vo", "penalty"), [(0, 0.0), (1, 0.0), (2, -0.05), (3, -0.1), (4, -0.15)])
def test_penalty_by_operations(n_vo, penalty):
    (term,) = curiosity_rewards([1.0], (rollout_of(n_vo),), PAPER)
    assert term.penalty == pytest.approx(penalty)
    assert term.total == pytest.approx(1.0 + penalty)


def test_whole_rewards_of_one_group():
    # RaPR = 1/8. Right without an operation; right after three; wrong after none.
    group = (rollout_of(0), rollout_of(3), *[rollout_of(0)] * 6)
    terms = curiosity_rewards([1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], group, PAPER)
    assert terms[0] == RewardTerms(1.0, 0.0, 0.0)
    assert terms[1].total == pytest.approx(1.0 + 0.0875 - 0.1)
    assert terms[2].total == 0.0


def test_calls_that_failed_count_neither_way():
    group = (rollout_of(0, n_invalid=4), rollout_of(1, n_invalid=3), *[rollout_of(0)] * 6)
    terms = curiosity_rewards([0.0] * 8, group, PAPER)
    assert terms[0] == RewardTerms(0.0, 0.0, 0.0)
    assert terms[1].curiosity == pytest.approx(0.0875)
    assert terms[1].penalty == 0.0


def test_without_curiosity_the_penalty_stays():
    terms = curiosity_rewards([1.0] * 8, (rollout_of(2), *[rollout_of(0)] * 7), CuriosityConfig(alpha=0.0))
    assert terms[0].curiosity == 0.0
    assert terms[0].penalty == pytest.approx(-0.05)


def test_misaligned_scores_are_a_bug_and_propagate():
    with pytest.raises(ValueError, match="zip"):
        curiosity_rewards([1.0], group_of(1), PAPER)


def test_negative_weights_are_refused():
    with pytest.raises(ValidationError):
        CuriosityConfig(alpha=-0.1)
