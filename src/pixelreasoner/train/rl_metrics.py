"""What a step of RL logs about its rollouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixelreasoner.core.localisation import Localisation, localise
from pixelreasoner.core.trajectory import Trajectory, rapr
from pixelreasoner.objectives.scored_group import ScoredGroup


def rollout_metrics(groups: Sequence[ScoredGroup]) -> dict[str, float]:
    """Means over the step's rollouts; every reward term by its name, operations counted per rollout."""
    rollouts = [y for group in groups for y in group.trajectories]
    scores = [score for group in groups for score in group.scores]
    needing = [(y, score) for y, score in zip(rollouts, scores, strict=True) if y.task.needs_operation]
    names = dict.fromkeys(name for group in groups for name in group.terms)
    metrics = {
        "reward": _mean([reward for group in groups for reward in group.rewards]),
        "accuracy": _mean(scores),
        **{name: _mean([value for group in groups for value in group.terms[name]]) for name in names},
        "rapr": rapr(rollouts),
        "operations": _mean([y.n_operations for y in rollouts]),
        "unread_operations": _mean([y.n_unread_operations for y in rollouts]),
        "invalid_operations": _mean([y.n_invalid_operations for y in rollouts]),
        "turns": _mean([len(y.turns) for y in rollouts]),
        "sampled_tokens": _mean([y.n_sampled_tokens for y in rollouts]),
        "zero_advantage_groups": _mean([not group.informative for group in groups]),
    }
    if needing:
        metrics["rapr_needs_operation"] = rapr([y for y, _ in needing])
        metrics["accuracy_needs_operation"] = _mean([score for _, score in needing])
    return metrics | _localisation(rollouts)


def _localisation(rollouts: Sequence[Trajectory]) -> dict[str, float]:
    """As an evaluation reports it (`core.localisation`); what the step says nothing about is left out."""
    at_cue = Localisation.total(localise(y) for y in rollouts if y.task.needs_operation)
    found = {
        "cue_coverage": at_cue.cue_coverage,
        "cue_iou": at_cue.cue_iou,
        "whole_image_crops": Localisation.total(map(localise, rollouts)).whole_image_crops,
    }
    return {name: value for name, value in found.items() if value is not None}


def replay_metrics(batch: Sequence[ScoredGroup], *, step: int) -> dict[str, float]:
    """How much of a step's batch is replayed, and how old that is: by the weights that sampled it.

    The age of a group is in steps, which is also how many versions its policy lies behind; `replay_age_mean`
    and `replay_age_max` are left out where nothing is replayed.

    Args:
        batch: the groups of the update.
        step: the number of the step, and the version of the weights that sampled its own groups.
    """
    ages = [age for group in batch if (age := step - _version(group, step)) > 0]
    metrics = {"replayed_groups": float(len(ages)), "replay_share": len(ages) / max(len(batch), 1)}
    if ages:
        metrics |= {"replay_age_mean": _mean(ages), "replay_age_max": float(max(ages))}
    return metrics


def _version(group: ScoredGroup, step: int) -> int:
    """The oldest weights that sampled any of its messages."""
    return min((turn.weight_version for y in group.trajectories for turn in y.turns), default=step)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
