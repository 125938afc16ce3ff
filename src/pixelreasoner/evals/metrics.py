"""What an evaluation reports: accuracy, how often the model looks closer, and whether it looks at the cue.

Errors are standard errors of a share p over n tasks, sqrt(p (1 - p) / n); intervals are 95 % Wilson
intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.intervals import wilson_interval
from pixelreasoner.core.localisation import Localisation, localise
from pixelreasoner.core.trajectory import SCORE_METRIC, Trajectory

Summary = dict[str, Any]
"""Ready for JSON; `summarize_scores` describes it."""


@dataclass(frozen=True)
class Score:
    """What one trajectory adds to a summary: a few numbers, no pictures."""

    task_id: str
    kind: str
    needs_operation: bool
    score: float
    """How right the answer is, 0 to 1."""
    has_reference: bool
    """Whether the task has reference answers to compare with."""
    used_pixel_space: bool
    n_operations: int
    n_unread: int
    """Operations whose result did not fit into the conversation."""
    n_invalid: int
    localisation: Localisation
    """Where its operations looked."""
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    """Scores beside the standard one, by name, as far as it has them."""

    def of(self, name: str) -> tuple[str, float | None]:
        """Its kind, and its score by this name; None where it has none."""
        return self.kind, self.score if name == SCORE_METRIC else self.scores.get(name)


def score(trajectory: Trajectory) -> Score:
    """The numbers of one trajectory, whose answer has been scored."""
    task = trajectory.task
    return Score(
        task_id=task.id,
        kind=task.kind,
        needs_operation=bool(task.needs_operation),
        score=trajectory.metrics[SCORE_METRIC],
        has_reference=bool(task.answers),
        used_pixel_space=trajectory.used_pixel_space,
        n_operations=trajectory.n_operations,
        n_unread=trajectory.n_unread_operations,
        n_invalid=trajectory.n_invalid_operations,
        localisation=localise(trajectory),
        scores={name: value for name, value in trajectory.metrics.items() if name != SCORE_METRIC},
    )


def unanswered_note(scores: Sequence[Score]) -> str | None:
    """The line to print when tasks without reference answers scored 0, as they must; None otherwise."""
    blind = [s for s in scores if not s.has_reference]
    # A scorer of the user's may judge without a reference.
    if not blind or any(s.score for s in blind):
        return None
    return (
        f"{len(blind)} of {len(scores)} tasks have no reference answers and count as wrong: "
        f"the accuracy says nothing of them. Give them 'answers', or a scorer that needs none"
    )


def summarize(trajectories: Sequence[Trajectory]) -> Summary:
    """The summary of a set of trajectories whose answers have been scored.

    Raises:
        PixelReasonerError: there is none.
    """
    return summarize_scores([score(t) for t in trajectories])


def summarize_scores(scores: Sequence[Score]) -> Summary:
    """Shares over all tasks, and over those that need the operation (None where there is none such)::

        {"n",
         "accuracy": {"all", "needs_operation", "by_kind": {KIND: {"all", "needs_operation"}}},
         "scores": {NAME: {"n", "missing", "all", "by_kind": {KIND}}},    scores beside the accuracy, over the
                              tasks that have one; `missing` are the others (a judge that failed, no boxes)
         "rapr": {"all", "needs_operation"},
         "op_error_rate",     invalid operations in all that were asked for; 0 when none was
         "cue_coverage",      on tasks that need it, the share of operations that are on the cue
         "cue_iou",           on tasks that need it, the mean IoU of crops with the cue
         "whole_image_crops", the share of crops that are of the whole image (`core.localisation`)
         "stderr": {"accuracy": {"all", "needs_operation"}, "rapr": {"all", "needs_operation"}},
         "interval95": as accuracy and rapr, a pair [low, high] in the place of each share}

    Raises:
        PixelReasonerError: there are no scores.
    """
    if not scores:
        raise PixelReasonerError("there is nothing to summarise: evaluate at least one task")
    needing = [s for s in scores if s.needs_operation]
    kinds = sorted({s.kind for s in scores})
    correct = {
        "all": _share(s.score for s in scores),
        "needs_operation": _share(s.score for s in needing),
    }
    rapr = {
        "all": _share(s.used_pixel_space for s in scores),
        "needs_operation": _share(s.used_pixel_space for s in needing),
    }
    n_invalid = sum(s.n_invalid for s in scores)
    n_asked = n_invalid + sum(s.n_operations + s.n_unread for s in scores)
    at_cue = Localisation.total(s.localisation for s in needing)
    sizes = {"all": len(scores), "needs_operation": len(needing)}
    return {
        "n": len(scores),
        "accuracy": {**correct, "by_kind": {kind: _of_kind(scores, kind) for kind in kinds}},
        "scores": further_scores(scores),
        "rapr": rapr,
        "op_error_rate": n_invalid / n_asked if n_asked else 0.0,
        "cue_coverage": at_cue.cue_coverage,
        "cue_iou": at_cue.cue_iou,
        "whole_image_crops": Localisation.total(s.localisation for s in scores).whole_image_crops,
        "stderr": {
            "accuracy": {key: _stderr(p, sizes[key]) for key, p in correct.items()},
            "rapr": {key: _stderr(p, sizes[key]) for key, p in rapr.items()},
        },
        "interval95": {
            "accuracy": {
                **{key: _interval(p, sizes[key]) for key, p in correct.items()},
                "by_kind": {kind: _intervals_of_kind(scores, kind) for kind in kinds},
            },
            "rapr": {key: _interval(p, sizes[key]) for key, p in rapr.items()},
        },
    }


def further_scores(scores: Sequence[Score]) -> dict[str, dict[str, Any]]:
    """The scores beside the standard one, by name; see `summarize_scores`."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for s in scores for name in s.scores):
        having = [s for s in scores if name in s.scores]
        kinds = sorted({s.kind for s in having})
        found[name] = {
            "n": len(having),
            "missing": len(scores) - len(having),
            "all": _share(s.scores[name] for s in having),
            "by_kind": {kind: _share(s.scores[name] for s in having if s.kind == kind) for kind in kinds},
        }
    return found


def _of_kind(scores: Sequence[Score], kind: str) -> dict[str, float | None]:
    return {
        "all": _share(s.score for s in scores if s.kind == kind),
        "needs_operation": _share(s.score for s in scores if s.kind == kind and s.needs_operation),
    }


def _intervals_of_kind(scores: Sequence[Score], kind: str) -> dict[str, list[float] | None]:
    n = sum(s.kind == kind for s in scores)
    n_needing = sum(s.kind == kind and s.needs_operation for s in scores)
    shares = _of_kind(scores, kind)
    return {
        "all": _interval(shares["all"], n),
        "needs_operation": _interval(shares["needs_operation"], n_needing),
    }


def _share(values: Iterable[float]) -> float | None:
    """The mean, which of booleans is the share that is true; None of nothing."""
    known = list(values)
    return sum(known) / len(known) if known else None


def _stderr(p: float | None, n: int) -> float | None:
    return None if p is None else math.sqrt(p * (1 - p) / n)


def _interval(p: float | None, n: int) -> list[float] | None:
    return None if p is None else list(wilson_interval(p, n))
