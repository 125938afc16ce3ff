"""The paper's reward by hand: alpha = 0.5, beta = 0.05, H = 0.3, N = 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Group, Observation, StopReason, Trajectory, Turn
from pixelreasoner.rewards.curiosity import Curiosity, Efficiency
from pixelreasoner.rewards.terms import PAPER, TermConfig, score_terms, total

TASK = Task("t", "Q?", (Picture(np.zeros((2, 2, 3), np.uint8)),), ("A",))


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
    terms = score_terms(group, [0.0] * 8, PAPER)
    for y, curiosity in zip(group, terms["curiosity"], strict=True):
        assert curiosity == (pytest.approx(bonus) if y.used_pixel_space else 0.0)
    assert terms["efficiency"] == (0.0,) * 8


def test_the_bonus_ends_exactly_at_H():
    assert Curiosity(H=0.3)(group_of(3, size=10), [0.0] * 10) == [0.0] * 10
    just_below = Curiosity(H=0.3)(group_of(2, size=10), [0.0] * 10)
    assert just_below == pytest.approx([0.1] * 2 + [0.0] * 8)  # 0.3 - 0.2


@pytest.mark.parametrize(("n_vo", "penalty"), [(0, 0.0), (1, 0.0), (2, -0.05), (3, -0.1), (4, -0.15)])
def test_penalty_by_operations(n_vo, penalty):
    terms = score_terms((rollout_of(n_vo),), [1.0], PAPER)
    assert terms["efficiency"] == pytest.approx((penalty,))
    # A group of one that operates has a rate of 1, far above H.
    assert total(terms) == pytest.approx((1.0 + penalty,))


def test_calls_that_failed_count_neither_way():
    group = (rollout_of(0, n_invalid=4), rollout_of(1, n_invalid=3), *[rollout_of(0)] * 6)
    terms = score_terms(group, [0.0] * 8, PAPER)
    assert terms["curiosity"] == pytest.approx((0.0, 0.0875, *[0.0] * 6))
    assert terms["efficiency"] == (0.0,) * 8


def test_an_operation_whose_result_did_not_fit_counts_neither_way():
    """Its rollout ended with it: no turn follows that could have read it."""
    read, unread = rollout_of(1), replace(rollout_of(2), turns=rollout_of(2).turns[:-1])
    nothing_read = replace(rollout_of(1), turns=rollout_of(1).turns[:-1])
    assert [y.n_operations for y in (read, unread, nothing_read)] == [1, 1, 0]
    group = (unread, nothing_read, *[rollout_of(0)] * 6)
    terms = score_terms(group, [0.0] * 8, PAPER)
    # RaPR(x) is 1/8: the second rollout saw nothing, and is not paid; the first has one operation, not two.
    assert terms["curiosity"] == pytest.approx((0.0875, *[0.0] * 7))
    assert terms["efficiency"] == (0.0,) * 8


def test_without_curiosity_the_penalty_stays():
    group = (rollout_of(2), *[rollout_of(0)] * 7)
    terms = score_terms(group, [1.0] * 8, {**PAPER, "curiosity": TermConfig(weight=0.0)})
    assert terms["curiosity"] == (0.0,) * 8
    assert terms["efficiency"] == pytest.approx((-0.05, *[0.0] * 7))


@pytest.mark.parametrize("H", [-0.1, 1.1, float("nan")])
def test_a_rate_outside_0_to_1_is_refused(H):
    with pytest.raises(ConfigError, match="must be from 0 to 1"):
        Curiosity(H=H)


def test_a_negative_number_of_free_operations_is_refused():
    with pytest.raises(ConfigError, match="at least 0"):
        Efficiency(N=-1)
