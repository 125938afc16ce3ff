"""What a step of RL logs about its rollouts, and what is recorded of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.localisation import Localisation, localise
from pixelreasoner.core.rollout_log import STEP_METRIC
from pixelreasoner.core.trajectory import SCORE_METRIC, StopReason, Trajectory, rapr
from pixelreasoner.objectives.scored_group import ScoredGroup

RECORD_METRICS = (STEP_METRIC, "reward", "advantage", SCORE_METRIC)
"""What a recorded rollout has besides the terms of its reward."""


def rollout_metrics(groups: Sequence[ScoredGroup]) -> dict[str, float]:
    """Means over the step's rollouts; every reward term by its name, weighted."""
    rollouts = [y for group in groups for y in group.trajectories]
    scores = [score for group in groups for score in group.scores]
    names = dict.fromkeys(name for group in groups for name in group.terms)
    return {
        "reward": _mean([reward for group in groups for reward in group.rewards]),
        **{name: _mean([value for group in groups for value in group.terms[name]]) for name in names},
        **trajectory_metrics(rollouts, scores, [localise(y) for y in rollouts]),
        "zero_advantage_groups": _mean([not group.informative for group in groups]),
    }


def trajectory_metrics(
    rollouts: Sequence[Trajectory], scores: Sequence[float], places: Sequence[Localisation]
) -> dict[str, float]:
    """Means over rollouts: accuracy, RaPR, counts per rollout, the share of every stop reason, and where the
    operations were (`places`, one of each rollout).
    """
    needing = [(y, score) for y, score in zip(rollouts, scores, strict=True) if y.task.needs_operation]
    metrics = {
        "accuracy": _mean(scores),
        "rapr": rapr(list(rollouts)),
        "operations": _mean([y.n_operations for y in rollouts]),
        "unread_operations": _mean([y.n_unread_operations for y in rollouts]),
        "invalid_operations": _mean([y.n_invalid_operations for y in rollouts]),
        "turns": _mean([len(y.turns) for y in rollouts]),
        "sampled_tokens": _mean([y.n_sampled_tokens for y in rollouts]),
        **{f"stop_{reason}": _mean([y.stop == reason for y in rollouts]) for reason in StopReason},
    }
    if needing:
        metrics["rapr_needs_operation"] = rapr([y for y, _ in needing])
        metrics["accuracy_needs_operation"] = _mean([score for _, score in needing])
    needed = [place for y, place in zip(rollouts, places, strict=True) if y.task.needs_operation]
    return metrics | _localisation(needed, places)


def _localisation(needed: Sequence[Localisation], places: Sequence[Localisation]) -> dict[str, float]:
    """As an evaluation reports it (`core.localisation`); what the step says nothing about is left out."""
    at_cue = Localisation.total(needed)
    found = {
        "cue_coverage": at_cue.cue_coverage,
        "cue_iou": at_cue.cue_iou,
        "whole_image_crops": Localisation.total(places).whole_image_crops,
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


def scored_records(groups: Iterable[ScoredGroup], step: int) -> Iterator[Trajectory]:
    """The rollouts of a step, each with its step, reward, advantage, score and every reward term."""
    for group in groups:
        for i, trajectory in enumerate(group.trajectories):
            metrics = {
                STEP_METRIC: step,
                "reward": group.rewards[i],
                "advantage": group.advantages[i],
                **({SCORE_METRIC: group.scores[i]} if group.scores else {}),
                **{name: values[i] for name, values in group.terms.items()},
            }
            yield replace(trajectory, metrics=metrics)


def check_term_names(names: Iterable[str]) -> None:
    """Check that no reward term hides what is logged under the same name.

    Raises:
        ConfigError: one does.
    """
    taken = {
        *RECORD_METRICS,
        *trajectory_metrics([], [], []),
        "zero_advantage_groups",
        "loss",
        "grad_norm",
        "skipped_steps",
        "collapse_alarm",
    }
    if hidden := sorted(taken.intersection(names)):
        raise ConfigError(
            f"rewards.{hidden[0]}: something else is logged as '{hidden[0]}'; give the term another name"
        )


def _version(group: ScoredGroup, step: int) -> int:
    """The oldest weights that sampled any of its messages."""
    return min((turn.weight_version for y in group.trajectories for turn in y.turns), default=step)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
