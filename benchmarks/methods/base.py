"""What every way of training on a group has in common: the same samples, the same loss, one pass.

Shape legend: N loss tokens of the group, attempt after attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.logprobs import TokenScores
from pixelreasoner.objectives.grpo import GrpoConfig, LossInputs, grpo_loss
from pixelreasoner.objectives.samples import TrainSample
from pixelreasoner.train.batches import behavior_logprobs, repeat_per_token

LOSS = GrpoConfig(normalization="token")


@dataclass(frozen=True)
class Settings:
    """What all methods are told alike."""

    frozen: bool = False
    """The vision tower takes no gradient."""
    rows: int | None = None
    """Attempts per padded micro-batch; None for the whole group."""
    recompute: bool = False
    """Gradient checkpointing, as transformers does it: one decoder or tower layer at a time."""


class Method(Protocol):
    """One way to score a group and take the gradient of its loss."""

    tokens: int
    """Decoder positions computed, padding included."""

    def run(self) -> Tensor:
        """A forward and backward pass over the group; log-probabilities [N], gradients left in the model."""
        ...

    def gradients(self) -> dict[str, Tensor]:
        """Those of the last run, by the names of the transformers model; not copies."""
        ...


def group_loss(scores: TokenScores, samples: Sequence[TrainSample], n_loss_tokens: int) -> Tensor:
    """The loss of some of the samples; those of all parts of a group add up to its loss."""
    device = scores.logp_N.device
    inputs = LossInputs(
        logp_T=scores.logp_N,
        behavior_logp_T=behavior_logprobs(samples, device),
        advantage_T=repeat_per_token(samples, [s.advantage for s in samples], device),
        weight_T=repeat_per_token(samples, [1.0 / n_loss_tokens] * len(samples), device),
    )
    return grpo_loss(inputs, LOSS).loss


def with_behaviour(samples: Sequence[TrainSample], logp_N: Tensor) -> list[TrainSample]:
    """The samples as if the policy that is trained had sampled them: ratios are one."""
    out, at = [], 0
    values = logp_N.detach().float().cpu().numpy()
    for sample in samples:
        recorded = np.zeros(len(sample.mask), np.float32)
        recorded[sample.mask] = values[at : at + sample.n_loss_tokens]
        at += sample.n_loss_tokens
        out.append(replace(sample, behavior_logp=recorded))
    return out


def parts(n: int, rows: int | None) -> list[range]:
    """Attempts 0 ... n-1 in micro-batches of `rows`."""
    size = rows or n
    return [range(start, min(start + size, n)) for start in range(0, n, size)]


def padded_tokens(layouts: Sequence[Layout], rows: int | None) -> int:
    return sum(len(part) * max(len(layouts[i]) for i in part) for part in parts(len(layouts), rows))


def gradients_of(hf: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in hf.named_parameters() if p.grad is not None}


def largest_differences(
    logp_N: Tensor, gradients: dict[str, Tensor], reference_N: Tensor, expected: dict[str, Tensor]
) -> tuple[float, float]:
    """Largest |difference| of a log-probability; of a gradient entry, in units of its tensor's largest."""
    logp = (logp_N.detach().double().cpu() - reference_N.double().cpu()).abs().max().item()
    assert gradients.keys() >= expected.keys(), sorted(expected.keys() - gradients.keys())
    worst = 0.0
    for name, wanted in expected.items():
        wanted = wanted.double().cpu()
        gap = (gradients[name].double().cpu() - wanted).abs().max().item()
        worst = max(worst, gap / max(wanted.abs().max().item(), torch.finfo(torch.float64).tiny))
    return logp, worst
