"""What an evaluation reports: accuracy, how often the model looks closer, and whether it looks at the cue.

docs/metrics.md defines every number, with its source. The task is the unit: with k rollouts per task, a
task's value is the mean over its rollouts, and standard errors and intervals are over tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.intervals import wilson_interval
from pixelreasoner.core.localisation import Localisation
from pixelreasoner.core.trajectory import SCORE_METRIC, Trajectory
from pixelreasoner.evals.counts import counts
from pixelreasoner.evals.scores import Score, score
from pixelreasoner.evals.statistics import bootstrap_interval, pass_at_k, standard_error

__all__ = ["SCORE_METRIC", "Score", "Summary", "score", "summarize", "summarize_scores", "unanswered_note"]

Summary = dict[str, Any]
"""Ready for JSON; `summarize_scores` describes it."""
Rollouts = Sequence[Score]
"""Of one task."""
EASY_FROM = 0.5
"""The mean score without operations from which on a question is easy."""


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
    """The summary of a set of trajectories whose answers have been scored, one per task.

    Raises:
        PixelReasonerError: there is none.
    """
    return summarize_scores([score(t) for t in trajectories])


def summarize_scores(
    scores: Sequence[Score], *, samples: int = 1, easy: Mapping[str, bool] | None = None
) -> Summary:
    """Shares over all tasks, and over those that need the operation (None where there is none such)::

        {"n",                 tasks
         "samples",           rollouts per task
         "accuracy": {"all", "needs_operation", "by_kind": {KIND: {"all", "needs_operation"}}},
         "scores": {NAME: {"all", "by_kind": {KIND: {"all"}}}},    other metrics of the records
         "avg_at_k": {K}, "pass_at_k": {1, 2, 4, ... K},
         "rapr": {"all", "needs_operation", "easy", "hard"},
         "easy_by",           "without_operations" or "needs_operation": what makes a question easy
         "op_error_rate",     invalid operations in all that were asked for; 0 when none was
         "cue_coverage",      on tasks that need it, the share of operations that are on the cue
         "cue_iou",           on tasks that need it, the mean IoU of crops with the cue
         "whole_image_crops", the share of crops that are of the whole image (`core.localisation`)
         "operations", "outputs", "stop", "per_rollout":    `evals.counts`
         "tasks": as accuracy, scores, avg_at_k, pass_at_k and rapr, how many tasks each is a mean over
         "stderr": likewise, the standard error
         "interval95": likewise, the 95 % Wilson interval [low, high]
         "bootstrap95": likewise, the 95 % percentile bootstrap interval}

    Args:
        scores: all rollouts of a task stand together.
        samples: how many there are of each task.
        easy: task id -> whether the question is right without operations (`right_without_operations`); None
            takes questions that are known to need no operation.

    Raises:
        PixelReasonerError: there are no scores.
    """
    if not scores:
        raise PixelReasonerError("there is nothing to summarise: evaluate at least one task")
    tasks = [scores[at : at + samples] for at in range(0, len(scores), samples)]
    assert all(len({s.task_id for s in rollouts}) == 1 for rollouts in tasks), "rollouts of a task apart"
    values = _values(tasks, samples, easy)
    n_invalid = sum(s.n_invalid for s in scores)
    n_asked = n_invalid + sum(s.n_operations + s.n_unread for s in scores)
    at_cue = Localisation.total(s.localisation for s in scores if s.needs_operation)
    return {
        "n": len(tasks),
        "samples": samples,
        **_each(values, _mean),
        "easy_by": "needs_operation" if easy is None else "without_operations",
        "op_error_rate": n_invalid / n_asked if n_asked else 0.0,
        "cue_coverage": at_cue.cue_coverage,
        "cue_iou": at_cue.cue_iou,
        "whole_image_crops": Localisation.total(s.localisation for s in scores).whole_image_crops,
        **counts(scores, samples),
        "tasks": _each(values, len),
        "stderr": _each(values, _unless_empty(standard_error)),
        "interval95": _each(values, _unless_empty(_wilson)),
        "bootstrap95": _each(values, _unless_empty(lambda x: list(bootstrap_interval(x)))),
    }


def right_without_operations(scores: Iterable[Score]) -> dict[str, bool]:
    """For `summarize_scores(easy=...)`, from an evaluation of the same checkpoint with no operations."""
    by_task: dict[str, list[float]] = {}
    for s in scores:
        by_task.setdefault(s.task_id, []).append(s.score)
    return {task_id: _share(found) >= EASY_FROM for task_id, found in by_task.items()}


# ------------------------------------------------------------------------------- values, one per task


def task_values(tasks: Iterable[Rollouts], value: Callable[[Score], float]) -> list[float]:
    """For each task, the mean of a value over its rollouts."""
    return [_share([value(s) for s in rollouts]) for rollouts in tasks]


def is_easy(task: Score, easy: Mapping[str, bool] | None) -> bool | None:
    """Whether a question can be answered without operations; None where nobody knows."""
    if easy is not None:
        return easy.get(task.task_id)
    return None if task.needs_operation is None else not task.needs_operation


def _values(tasks: Sequence[Rollouts], samples: int, easy: Mapping[str, bool] | None) -> Summary:
    """The values whose means are reported: nested as in the summary, a list with a value per task each."""
    by_kind: dict[str, list[Rollouts]] = {}
    for rollouts in sorted(tasks, key=lambda rollouts: rollouts[0].kind):
        by_kind.setdefault(rollouts[0].kind, []).append(rollouts)
    names = sorted({name for s in _flat(tasks) for name, _ in s.other_scores})
    return {
        "accuracy": {**_accuracy(tasks), "by_kind": {k: _accuracy(found) for k, found in by_kind.items()}},
        "scores": {
            name: {
                "all": _other(tasks, name),
                "by_kind": {kind: {"all": _other(found, name)} for kind, found in by_kind.items()},
            }
            for name in names
        },
        "avg_at_k": {str(samples): task_values(tasks, lambda s: s.score)},
        "pass_at_k": {str(k): _passed(tasks, k) for k in _powers_of_two(samples)},
        "rapr": {
            "all": _used(tasks),
            "needs_operation": _used(t for t in tasks if t[0].needs_operation),
            "easy": _used(t for t in tasks if is_easy(t[0], easy) is True),
            "hard": _used(t for t in tasks if is_easy(t[0], easy) is False),
        },
    }


def _accuracy(tasks: Sequence[Rollouts]) -> dict[str, list[float]]:
    return {
        "all": task_values(tasks, lambda s: s.score),
        "needs_operation": task_values((t for t in tasks if t[0].needs_operation), lambda s: s.score),
    }


def _used(tasks: Iterable[Rollouts]) -> list[float]:
    return task_values(tasks, lambda s: s.used_pixel_space)


def _other(tasks: Sequence[Rollouts], name: str) -> list[float]:
    """The mean of a metric over the rollouts of a task that have it; tasks without one are left out."""
    found = ([value for s in rollouts for n, value in s.other_scores if n == name] for rollouts in tasks)
    return [_share(values) for values in found if values]


def _passed(tasks: Sequence[Rollouts], k: int) -> list[float]:
    return [pass_at_k(len(t), sum(s.is_right for s in t), k) for t in tasks]


def _powers_of_two(most: int) -> list[int]:
    """1, 2, 4, ... and `most`."""
    powers = [2**i for i in range(most.bit_length()) if 2**i < most]
    return [*powers, most]


def _flat(tasks: Iterable[Rollouts]) -> Iterable[Score]:
    return (s for rollouts in tasks for s in rollouts)


def _each(values: Mapping[str, Any], of: Callable[[list[float]], Any]) -> Summary:
    """The same nesting with `of(values)` in the place of each list of values."""
    return {
        key: _each(inner, of) if isinstance(inner, Mapping) else of(inner) for key, inner in values.items()
    }


def _unless_empty(of: Callable[[list[float]], Any]) -> Callable[[list[float]], Any]:
    return lambda values: of(values) if values else None


def _wilson(values: list[float]) -> list[float] | None:
    """None of a metric that is no share."""
    share = _share(values)
    return list(wilson_interval(share, len(values))) if 0 <= share <= 1 else None


def _mean(values: list[float]) -> float | None:
    return _share(values) if values else None


def _share(values: Sequence[float]) -> float:
    """The mean, which of booleans is the share that is true."""
    return sum(values) / len(values)
