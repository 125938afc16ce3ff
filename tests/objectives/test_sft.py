"""Instruction tuning's loss by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.attention.shared_prefix import GroupSpan, PrefixPlan
from pixelreasoner.models.logprobs import TokenScores
from pixelreasoner.objectives.packing import PackedRow
from pixelreasoner.objectives.sft import SftObjective

OBJECTIVE = SftObjective()


def row(weights: list[float]) -> PackedRow:
    """A row with so many loss tokens of these weights; the loss reads nothing else."""
    n = len(weights)
    ids = np.arange(n + 1)
    layout = Layout(ids, np.zeros(n + 1, np.int8), ids, np.tile(ids, (3, 1)), ())
    zeros = np.zeros(n, np.float32)
    plan = PrefixPlan((GroupSpan(n + 1),))
    return PackedRow(
        layout, plan, ids[:-1], ids[1:], zeros, zeros + 1, np.array(weights, np.float32), ids[1:] * 0
    )


def scores(*logp: float) -> TokenScores:
    logp_N = torch.tensor(logp, requires_grad=True)
    return TokenScores(logp_N, torch.zeros_like(logp_N))


def test_mean_over_the_tokens_of_the_batch():
    given = scores(-1.0, -2.0, -6.0)
    loss = OBJECTIVE(given, row(OBJECTIVE.token_weights([3]) * 3)).loss
    assert loss.item() == pytest.approx(3.0)
    loss.backward()
    assert given.logp_N.grad is not None
    torch.testing.assert_close(given.logp_N.grad, torch.full((3,), -1 / 3))


def test_rows_add_up_and_long_trajectories_weigh_more():
    short, long = OBJECTIVE.token_weights([1, 3])
    assert (short, long) == (0.25, 0.25)
    first = OBJECTIVE(scores(-1.0), row([short])).loss
    second = OBJECTIVE(scores(-2.0, -6.0, -3.0), row([long] * 3)).loss
    assert (first + second).item() == pytest.approx(12 / 4)


def test_a_batch_without_loss_tokens_has_finite_weights():
    assert OBJECTIVE.token_weights([0, 0]) == [1.0, 1.0]


def test_the_model_is_taken_as_it_is():
    """No temperature of a sampler, and no log-probabilities of one."""
    assert OBJECTIVE.temperature == 1.0
    assert not OBJECTIVE.sampled_by_policy
