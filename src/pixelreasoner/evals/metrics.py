"""What an evaluation reports: accuracy, how often the model looks closer, and whether it looks at the cue.

Errors are standard errors of a share p over n tasks, sqrt(p (1 - p) / n).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.inspection import inspected_regions
from pixelreasoner.core.trajectory import SCORE_METRIC, Trajectory

HIT = 0.5
"""An operation is on the cue when it shows at least this share of the cue's area."""
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
    used_pixel_space: bool
    n_operations: int
    n_invalid: int
    n_inspected: int
    """Operations whose region is known, on a task whose cue is known."""
    n_hits: int
    """Those on the cue: at least half of its box, and any one of its frames."""


def score(trajectory: Trajectory) -> Score:
    """The numbers of one trajectory, whose answer has been scored."""
    task, cue = trajectory.task, trajectory.task.cue
    seen = [look for look in inspected_regions(trajectory) if look is not None] if cue is not None else []
    return Score(
        task_id=task.id,
        kind=task.kind,
        needs_operation=bool(task.needs_operation),
        score=trajectory.metrics[SCORE_METRIC],
        used_pixel_space=trajectory.used_pixel_space,
        n_operations=trajectory.n_operations,
        n_invalid=trajectory.n_invalid_operations,
        n_inspected=len(seen),
        n_hits=sum(cue is not None and look.coverage_of(cue) >= HIT for look in seen),
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
         "rapr": {"all", "needs_operation"},
         "op_error_rate",     invalid operations in all that were asked for; 0 when none was
         "cue_coverage",      on tasks that need it, the share of operations that are on the cue
         "stderr": {"accuracy": {"all", "needs_operation"}, "rapr": {"all", "needs_operation"}}}

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
    n_asked = n_invalid + sum(s.n_operations for s in scores)
    n_inspected = sum(s.n_inspected for s in needing)
    sizes = {"all": len(scores), "needs_operation": len(needing)}
    return {
        "n": len(scores),
        "accuracy": {**correct, "by_kind": {kind: _of_kind(scores, kind) for kind in kinds}},
        "rapr": rapr,
        "op_error_rate": n_invalid / n_asked if n_asked else 0.0,
        "cue_coverage": sum(s.n_hits for s in needing) / n_inspected if n_inspected else None,
        "stderr": {
            "accuracy": {key: _stderr(p, sizes[key]) for key, p in correct.items()},
            "rapr": {key: _stderr(p, sizes[key]) for key, p in rapr.items()},
        },
    }


def _of_kind(scores: Sequence[Score], kind: str) -> dict[str, float | None]:
    return {
        "all": _share(s.score for s in scores if s.kind == kind),
        "needs_operation": _share(s.score for s in scores if s.kind == kind and s.needs_operation),
    }


def _share(values: Iterable[float]) -> float | None:
    """The mean, which of booleans is the share that is true; None of nothing."""
    known = list(values)
    return sum(known) / len(known) if known else None


def _stderr(p: float | None, n: int) -> float | None:
    return None if p is None else math.sqrt(p * (1 - p) / n)
