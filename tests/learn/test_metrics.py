"""Metrics of rows put together: by hand."""

import pytest
import torch

from pixelreasoner.learn.metrics import UpdateMetrics
from pixelreasoner.objectives.objective import LossOutputs


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
