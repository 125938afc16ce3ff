"""The GRPO loss by hand, by finite differences, and by its relation to REINFORCE."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.objectives.grpo import GrpoConfig, LossInputs, grpo_loss, sample_weights

CONFIG = GrpoConfig(clip_low=0.2, clip_high=0.3, dual_clip=2.0)


def inputs(ratios: list[float], advantages: list[float], weights: list[float] | None = None) -> LossInputs:
    behavior = torch.full((len(ratios),), -1.5, dtype=torch.float64)
    return LossInputs(
        logp_T=(behavior + torch.tensor(ratios, dtype=torch.float64).log()).requires_grad_(),
        behavior_logp_T=behavior,
        advantage_T=torch.tensor(advantages, dtype=torch.float64),
        weight_T=torch.tensor(weights or [1.0] * len(ratios), dtype=torch.float64),
    )


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # The slope is d loss / d logp = -A * rho while the token counts, else 0.
        (1.0, 2.0, -2.0, -2.0),
        (1.2, 2.0, -2.4, -2.4),
        (1.5, 2.0, -2.6, 0.0),  # clipped at 1.3
        (0.5, 2.0, -1.0, -1.0),  # a good token that became rare is pulled back
        (1.0, -2.0, 2.0, 2.0),
        (0.5, -2.0, 1.6, 0.0),  # clipped at 0.8
        (1.5, -2.0, 3.0, 3.0),  # a bad token that became likely is pushed down
        (5.0, -2.0, 4.0, 0.0),  # dual-clip at 2
        (5.0, 0.0, 0.0, 0.0),
    ],
)
def test_one_token(ratio, advantage, loss, slope):
    given = inputs([ratio], [advantage])
    out = grpo_loss(given, CONFIG)
    assert out.loss.item() == pytest.approx(loss)
    out.loss.backward()
    assert given.logp_T.grad is not None
    assert given.logp_T.grad.item() == pytest.approx(slope)


def test_without_dual_clip_bad_tokens_are_unbounded():
    out = grpo_loss(inputs([5.0], [-2.0]), GrpoConfig(dual_clip=None))
    assert out.loss.item() == pytest.approx(10.0)


def test_weights_and_metrics():
    given = inputs([1.0, 1.5, 5.0, 0.5], [1.0, 1.0, -1.0, 1.0], [0.5, 0.25, 0.125, 0.125])
    out = grpo_loss(replace(given, entropy_T=torch.tensor([1.0, 2.0, 3.0, 4.0])), CONFIG)
    # gains 1, 1.3, -2, 0.5
    assert out.loss.item() == pytest.approx(-(0.5 + 0.25 * 1.3 - 0.125 * 2 + 0.125 * 0.5))
    assert out.metrics["ratio"].item() == pytest.approx(2.0)
    assert out.metrics["clip_fraction"].item() == pytest.approx(0.5)
    assert out.metrics["dual_clip_fraction"].item() == pytest.approx(0.25)
    k3 = sum(r - 1 - math.log(r) for r in (1.0, 1.5, 5.0, 0.5)) / 4
    assert out.metrics["approx_kl"].item() == pytest.approx(k3)
    assert out.metrics["entropy"].item() == pytest.approx(2.5)
    assert out.maxima["ratio_max"].item() == pytest.approx(5.0)
    assert not any(m.requires_grad for m in (*out.metrics.values(), *out.maxima.values()))


def test_first_step_is_reinforce():
    torch.manual_seed(0)
    logits = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    token = torch.randint(5, (6, 1))
    advantage = torch.randn(6, dtype=torch.float64)
    logp = logits.log_softmax(-1).gather(1, token)[:, 0]
    weight = torch.full((6,), 1 / 6, dtype=torch.float64)
    (reinforce,) = torch.autograd.grad(-(advantage * logp).mean(), logits, retain_graph=True)
    loss = grpo_loss(LossInputs(logp, logp.detach(), advantage, weight), CONFIG).loss
    (grpo,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(grpo, reinforce)


def test_gradient_equals_finite_differences():
    given = inputs([0.5, 0.9, 1.1, 1.25, 1.7, 2.6], [1.0, -1.0, 0.5, 2.0, -0.3, -1.0])

    def loss(logp: torch.Tensor) -> torch.Tensor:
        return grpo_loss(replace(given, logp_T=logp), CONFIG).loss

    assert torch.autograd.gradcheck(loss, (given.logp_T,))


def test_micro_batches_add_up():
    whole = inputs([0.9, 1.1, 1.5, 0.7], [1.0, -1.0, 1.0, -1.0], [0.1, 0.2, 0.3, 0.4])
    fields = ("logp_T", "behavior_logp_T", "advantage_T", "weight_T")
    parts = [LossInputs(*(vars(whole)[f][piece] for f in fields)) for piece in (slice(0, 1), slice(1, 4))]
    total = sum(grpo_loss(part, CONFIG).loss.item() for part in parts)
    assert total == pytest.approx(grpo_loss(whole, CONFIG).loss.item())


def test_extreme_ratios_and_no_tokens_stay_finite():
    for logp in (-1e4, 1e4):
        given = replace(inputs([1.0] * 2, [1.0, -1.0]), logp_T=torch.full((2,), logp, requires_grad=True))
        loss = grpo_loss(given, GrpoConfig(dual_clip=None)).loss
        loss.backward()
        assert torch.isfinite(loss)
        assert given.logp_T.grad is not None
        assert torch.isfinite(given.logp_T.grad).all()
    empty = grpo_loss(inputs([], [], []), CONFIG)
    assert empty.loss.item() == 0.0
    assert all(torch.isfinite(m) for m in (*empty.metrics.values(), *empty.maxima.values()))


def test_sample_weights():
    lengths = [2, 0, 6]
    assert sample_weights(lengths, GrpoConfig(normalization="token")) == [1 / 8] * 3
    assert sample_weights(lengths, GrpoConfig(normalization="sequence")) == [1 / 4, 0.0, 1 / 12]
    constant = GrpoConfig(normalization="constant", constant_length=10)
    assert sample_weights(lengths, constant) == [1 / 20] * 3
    assert sample_weights([0, 0], CONFIG) == [0.0, 0.0]


def test_a_dual_clip_inside_the_clip_range_is_refused():
    with pytest.raises(ConfigError, match="dual_clip"):
        GrpoConfig(clip_high=0.35, dual_clip=1.2)
