"""Metrics of rollouts, and of micro-batches put together: by hand."""

import numpy as np
import pytest
import torch

from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Group, Observation, StopReason, Trajectory, Turn
from pixelreasoner.objectives.grpo import LossOutputs
from pixelreasoner.objectives.samples import ScoredGroup
from pixelreasoner.rewards.curiosity import RewardTerms
from pixelreasoner.train.rl_metrics import UpdateMetrics, rollout_metrics

TASK = Task("t", "Q?", (Picture(np.zeros((2, 2, 3), np.uint8)),), ("A",))


def group_of(*looked: bool) -> Group:
    """One attempt each, with a valid operation or without."""
    zoom = Turn("zoom", ToolCall("crop_image"), Observation("ok"))
    return tuple(
        Trajectory(TASK, (zoom, Turn("done")) if look else (Turn("done"),), StopReason.ANSWER, "A")
        for look in looked
    )


def rapr_push(*scored: ScoredGroup) -> float:
    groups = [s.group for s in scored]
    terms = [[RewardTerms(1.0, 0.0, 0.0) for _ in group] for group in groups]
    return rollout_metrics(groups, terms, scored)["rapr_push"]


def test_the_push_towards_operations_is_the_covariance_with_the_advantage():
    # RaPR is 1/4; the one that looked is 3/4 above it, the others 1/4 below.
    group = group_of(True, False, False, False)
    punished = ScoredGroup(group, (0.0, 1.0, 1.0, 1.0), (-1.5, 0.5, 0.5, 0.5))
    assert rapr_push(punished) == pytest.approx((-1.5 * 0.75 - 3 * 0.5 * 0.25) / 4)
    paid = ScoredGroup(group, (1.0, 0.0, 0.0, 0.0), (1.5, -0.5, -0.5, -0.5))
    assert rapr_push(punished, paid) == pytest.approx(0.0)


def test_there_is_no_push_where_all_look_or_none_does():
    for looked in (True, False):
        scored = ScoredGroup(group_of(looked, looked), (1.0, 0.0), (1.0, -1.0))
        assert rapr_push(scored) == 0.0


def loss(ratio: float, ratio_max: float) -> LossOutputs:
    return LossOutputs(
        loss=torch.tensor(0.0),
        metrics={"ratio": torch.tensor(ratio)},
        maxima={"ratio_max": torch.tensor(ratio_max)},
    )


def test_means_weigh_by_tokens_and_maxima_are_maxima():
    metrics = UpdateMetrics()
    metrics.add_loss(loss(1.0, 1.5), n_tokens=30)
    metrics.add_loss(loss(2.0, 2.5), n_tokens=10)
    metrics.add_means({"grad_norm": 3.0}, n_tokens=40)
    metrics.add_loss(loss(1.0, 1.25), n_tokens=40)
    metrics.add_means({"grad_norm": 1.0}, n_tokens=40)
    assert metrics.result() == pytest.approx(
        {"ratio": 90 / 80, "grad_norm": 2.0, "ratio_max": 2.5, "loss_tokens": 80.0}
    )


def test_an_update_of_nothing():
    assert UpdateMetrics().result() == {"loss_tokens": 0.0}
