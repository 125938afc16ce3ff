"""The counts of a summary: operations by name and by error, outputs, stop reasons, what a rollout costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pixelreasoner.evals.scores import Counts, Score
from pixelreasoner.evals.statistics import standard_error


def counts(scores: Sequence[Score], samples: int) -> dict[str, Any]:
    """Counts over all rollouts, and means per rollout (None where a record does not say)::

    {"operations": {"valid": {NAME: n}, "unread": n, "invalid": {ERROR CLASS: n}},
     "outputs": {"rollouts", "unboxed", "empty"},
     "stop": {REASON: n},
     "per_rollout": {"turns", "sampled_tokens", "visual_tokens": {"mean", "stderr", "total"}}}
    """
    return {
        "operations": {
            "valid": _added(s.operations for s in scores),
            "unread": sum(s.n_unread for s in scores),
            "invalid": _added(s.errors for s in scores),
        },
        "outputs": {
            "rollouts": len(scores),
            "unboxed": sum(not s.is_boxed for s in scores),
            "empty": sum(s.is_empty for s in scores),
        },
        "stop": dict(sorted(Counter(str(s.stop) for s in scores).items())),
        "per_rollout": {
            "turns": _spread(scores, samples, lambda s: s.n_turns),
            "sampled_tokens": _spread(scores, samples, lambda s: s.n_sampled_tokens),
            "visual_tokens": _spread(scores, samples, lambda s: s.n_visual_tokens),
        },
    }


def _added(found: Iterable[Counts]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in found:
        total.update(dict(one))
    return dict(sorted(total.items()))


def _spread(
    scores: Sequence[Score], samples: int, value: Callable[[Score], int | None]
) -> dict[str, float] | None:
    """Mean and total over rollouts; the standard error is over tasks. None where one is not known."""
    values: list[int] = []
    for s in scores:
        if (found := value(s)) is None:
            return None
        values.append(found)
    tasks = [sum(values[at : at + samples]) / samples for at in range(0, len(values), samples)]
    return {"mean": sum(values) / len(values), "stderr": standard_error(tasks), "total": sum(values)}
