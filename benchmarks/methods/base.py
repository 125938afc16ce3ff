"""The parts that all training methods share: the same trajectories, the same loss, one pass.

Shape legend: N loss tokens of the group, trajectory after trajectory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pixelreasoner.chat.layout import Layout
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.core.trajectory import Turn
from pixelreasoner.models.logprobs import TokenScores
from pixelreasoner.objectives.grpo import GrpoConfig, GrpoObjective, LossInputs, grpo_loss
from pixelreasoner.objectives.loss_mask import behavior_logprobs, loss_mask
from pixelreasoner.objectives.scored_group import ScoredGroup

OBJECTIVE = GrpoObjective(GrpoConfig(normalization="token"))


@dataclass(frozen=True)
class Settings:
    """Settings common to all methods."""

    frozen: bool = False
    """The vision tower takes no gradient."""
    rows: int | None = None
    """Trajectories per padded micro-batch; None for the whole group."""
    recompute: bool = False
    """Gradient checkpointing, as transformers does it: one decoder or tower layer at a time."""


class Method(Protocol):
    """One way to score a group and take the gradient of its loss."""

    tokens: int
    """Decoder positions computed, padding included."""

    def run(self) -> Tensor:
        """Run a forward and backward pass; returns log-probabilities [N], leaves gradients in the model."""
        ...

    def gradients(self) -> dict[str, Tensor]:
        """Return the gradients of the last run, by the names of the transformers model; not copies."""
        ...


def loss_tokens(group: ScoredGroup) -> list[int]:
    """Return the number of loss tokens of each trajectory."""
    return [int(loss_mask(trajectory).sum()) for trajectory in group.trajectories]


def group_loss(scores: TokenScores, part: ScoredGroup, n_loss_tokens: int) -> Tensor:
    """Return the loss of part of a group with `n_loss_tokens`; the parts' losses add up to the group's."""
    device, counts = scores.logp_N.device, loss_tokens(part)
    advantage_N = np.repeat(np.asarray(part.advantages, dtype=np.float32), counts)
    behavior_N = np.concatenate([behavior_logprobs(trajectory) for trajectory in part.trajectories])
    inputs = LossInputs(
        logp_T=scores.logp_N,
        behavior_logp_T=torch.from_numpy(behavior_N).to(device),
        advantage_T=torch.from_numpy(advantage_N).to(device),
        weight_T=torch.full_like(scores.logp_N.detach(), 1.0 / n_loss_tokens),
    )
    return grpo_loss(inputs, OBJECTIVE.config).loss


def with_behavior(group: ScoredGroup, logp_N: Tensor) -> ScoredGroup:
    """Return the group with `logp_N` as its behavior log-probabilities: ratios are one."""
    values = iter(logp_N.detach().float().tolist())

    def turn_with_logprobs(turn: Turn) -> Turn:
        assert turn.sampled is not None
        logprobs = tuple(next(values) for _ in turn.sampled.ids)
        return replace(turn, sampled=replace(turn.sampled, logprobs=logprobs))

    trajectories = tuple(
        replace(trajectory, turns=tuple(map(turn_with_logprobs, trajectory.turns)))
        for trajectory in group.trajectories
    )
    return replace(group, trajectories=trajectories)


def layouts_of(group: ScoredGroup, renderer: QwenVLRenderer) -> list[Layout]:
    """Return one layout per trajectory, each with its prompt."""
    return [renderer.layout(trajectory.segments) for trajectory in group.trajectories]


def part_of(group: ScoredGroup, indices: Sequence[int]) -> ScoredGroup:
    """Return some trajectories of a group."""
    trajectories = tuple(group.trajectories[i] for i in indices)
    advantages = tuple(group.advantages[i] for i in indices)
    return ScoredGroup(trajectories, {}, advantages, advantages)


def parts(n: int, rows: int | None) -> list[range]:
    """Return trajectories 0 ... n-1 in micro-batches of `rows`."""
    size = rows or n
    return [range(start, min(start + size, n)) for start in range(0, n, size)]


def padded_tokens(layouts: Sequence[Layout], rows: int | None) -> int:
    return sum(len(part) * max(len(layouts[i]) for i in part) for part in parts(len(layouts), rows))


def gradients_of(hf: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in hf.named_parameters() if p.grad is not None}


def largest_differences(
    logp_N: Tensor, gradients: dict[str, Tensor], reference_N: Tensor, expected: dict[str, Tensor]
) -> tuple[float, float]:
    """Return the largest |difference| of log-probabilities, and of gradients over their tensor's maximum."""
    logp = (logp_N.detach().double().cpu() - reference_N.double().cpu()).abs().max().item()
    assert gradients.keys() >= expected.keys(), sorted(expected.keys() - gradients.keys())
    worst = 0.0
    for name, wanted in expected.items():
        wanted = wanted.double().cpu()
        gap = (gradients[name].double().cpu() - wanted).abs().max().item()
        worst = max(worst, gap / max(wanted.abs().max().item(), torch.finfo(torch.float64).tiny))
    return logp, worst
