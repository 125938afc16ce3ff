"""What a step of RL logs about its rollouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelreasoner.core.trajectory import Group, rapr
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


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
