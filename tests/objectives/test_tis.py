"""Truncated importance sampling by hand: the detached ratio, its truncation, and the gradient left."""

from __future__ import annotations

import math

import pytest
import torch

from pixelreasoner.objectives.grpo import GrpoConfig, LossInputs, grpo_loss
from pixelreasoner.objectives.tis import importance_ratio

# Two trajectories of one row: ratios 0.5, 4 and 1.5, 1.2, 1; products 2 and 1.8.
RATIOS = [0.5, 4.0, 1.5, 1.2, 1.0]
ADVANTAGES = [1.0, 1.0, -2.0, -2.0, -2.0]
TRAJECTORY = torch.tensor([0, 0, 1, 1, 1])
WEIGHT = 0.2


def inputs(ratios: list[float] = RATIOS, advantages: list[float] = ADVANTAGES) -> LossInputs:
    n = len(ratios)
    behavior = torch.full((n,), -1.5, dtype=torch.float64)
    return LossInputs(
        logp_T=(behavior + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_(),
        behavior_logp_T=behavior,
        advantage_T=torch.tensor(advantages, dtype=torch.float64),
        weight_T=torch.full((n,), WEIGHT, dtype=torch.float64),
        trajectory_T=TRAJECTORY[:n],
    )


@pytest.mark.parametrize(
    ("level", "cap", "weights", "mean", "truncated"),
    [
        ("token", 2.0, [0.5, 2.0, 1.5, 1.2, 1.0], 8.2 / 5, 1 / 5),
        ("token", 1.2, [0.5, 1.2, 1.2, 1.2, 1.0], 8.2 / 5, 2 / 5),
        ("token", 10.0, RATIOS, 8.2 / 5, 0.0),
        ("sequence", 3.0, [2.0, 2.0, 1.8, 1.8, 1.8], (2 * 2 + 3 * 1.8) / 5, 0.0),
        ("sequence", 1.9, [1.9, 1.9, 1.8, 1.8, 1.8], (2 * 2 + 3 * 1.8) / 5, 2 / 5),
    ],
)
def test_loss_and_gradient(level, cap, weights, mean, truncated):
    given = inputs()
    out = grpo_loss(given, GrpoConfig(tis=level, tis_cap=cap))
    gains = [c * a for c, a in zip(weights, ADVANTAGES, strict=True)]
    assert out.loss.item() == pytest.approx(-WEIGHT * sum(gains))
    out.loss.backward()
    # d loss / d log pi(t) = -w * c * A, whatever the ratio is: c is detached, and nothing is clipped.
    assert given.logp_T.grad is not None
    assert given.logp_T.grad.tolist() == pytest.approx([-WEIGHT * gain for gain in gains])
    assert out.metrics["tis_ratio"].item() == pytest.approx(mean)
    assert out.metrics["tis_truncated"].item() == pytest.approx(truncated)
    assert "clip_fraction" not in out.metrics


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_on_policy_it_is_reinforce_as_the_clipped_loss_is(level):
    ones = [1.0] * 5
    (found,) = torch.autograd.grad(grpo_loss(a := inputs(ones), GrpoConfig(tis=level)).loss, a.logp_T)
    (clipped,) = torch.autograd.grad(grpo_loss(b := inputs(ones), GrpoConfig()).loss, b.logp_T)
    torch.testing.assert_close(found, clipped)
    torch.testing.assert_close(found, -WEIGHT * torch.tensor(ADVANTAGES, dtype=torch.float64))


def test_a_token_beyond_the_clip_still_learns():
    """The clip stops a good token at 1 + clip_high; truncated, it goes on with a weight of at most C."""
    clipped, truncated = inputs([4.0], [1.0]), inputs([4.0], [1.0])
    grpo_loss(clipped, GrpoConfig()).loss.backward()
    grpo_loss(truncated, GrpoConfig(tis="token", tis_cap=2.0)).loss.backward()
    assert clipped.logp_T.grad is not None
    assert truncated.logp_T.grad is not None
    assert clipped.logp_T.grad.item() == 0.0
    assert truncated.logp_T.grad.item() == pytest.approx(-WEIGHT * 2.0)


def test_the_ratio_of_a_sequence_is_a_product():
    log_ratio = torch.tensor([math.log(r) for r in RATIOS], requires_grad=True)
    ratio = importance_ratio(log_ratio, TRAJECTORY, "sequence")
    assert ratio.tolist() == pytest.approx([2.0, 2.0, 1.8, 1.8, 1.8])
    assert not ratio.requires_grad


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_no_tokens_and_extreme_ratios_stay_finite(level):
    empty = grpo_loss(inputs([], []), GrpoConfig(tis=level))
    assert empty.loss.item() == 0.0
    extreme = inputs([1e-30, 1e30, 1e30, 1e30, 1e30])
    out = grpo_loss(extreme, GrpoConfig(tis=level))
    out.loss.backward()
    assert torch.isfinite(out.loss)
    assert extreme.logp_T.grad is not None
    assert torch.isfinite(extreme.logp_T.grad).all()
