"""What a step of RL logs about its rollouts and its updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pixelreasoner.core.trajectory import Group, rapr
from pixelreasoner.objectives.grpo import LossOutputs
from pixelreasoner.objectives.samples import ScoredGroup
from pixelreasoner.rewards.curiosity import RewardTerms


def rollout_metrics(
    groups: Sequence[Group], terms: Sequence[Sequence[RewardTerms]], scored: Sequence[ScoredGroup]
) -> dict[str, float]:
    """Means over the step's attempts; operations are counted per attempt."""
    attempts = [y for group in groups for y in group]
    flat = [t for row in terms for t in row]
    needing = [y for y in attempts if y.task.needs_operation]
    correct = dict(zip(map(id, attempts), (t.correct for t in flat), strict=True))
    out = {
        "reward": _mean([t.total for t in flat]),
        "accuracy": _mean([t.correct for t in flat]),
        "curiosity": _mean([t.curiosity for t in flat]),
        "penalty": _mean([t.penalty for t in flat]),
        "rapr": rapr(attempts),
        "operations": _mean([y.n_operations for y in attempts]),
        "invalid_operations": _mean([y.n_invalid_operations for y in attempts]),
        "turns": _mean([len(y.turns) for y in attempts]),
        "sampled_tokens": _mean([y.n_sampled_tokens for y in attempts]),
        "zero_advantage_groups": _mean([not g.informative for g in scored]),
    }
    if needing:
        out["rapr_needs_operation"] = rapr(needing)
        out["accuracy_needs_operation"] = _mean([correct[id(y)] for y in needing])
    return out


class UpdateMetrics:
    """The metrics of an update, from those of its micro-batches and optimiser steps."""

    def __init__(self) -> None:
        self.n_tokens = 0
        """Loss tokens of the micro-batches."""
        self._sums: dict[str, float] = {}
        self._maxima: dict[str, float] = {}

    def add_loss(self, out: LossOutputs, n_tokens: int) -> None:
        """Those of a micro-batch with `n_tokens` loss tokens."""
        self.n_tokens += n_tokens
        self.add_means({name: value.item() for name, value in out.metrics.items()}, n_tokens)
        for name, value in out.maxima.items():
            self._maxima[name] = max(self._maxima.get(name, -np.inf), value.item())

    def add_means(self, means: Mapping[str, float], n_tokens: int) -> None:
        """Values that hold for `n_tokens` of the loss tokens, and weigh as much."""
        for name, value in means.items():
            self._sums[name] = self._sums.get(name, 0.0) + n_tokens * value

    def result(self) -> dict[str, float]:
        """Means over tokens, maxima, and `loss_tokens`."""
        means = {name: value / max(self.n_tokens, 1) for name, value in self._sums.items()}
        return {**means, **self._maxima, "loss_tokens": float(self.n_tokens)}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
