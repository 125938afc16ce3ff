"""The figures that benchmarks publish, from the scores of their tasks; pure functions.

Each takes `(kind, score)` pairs, one per rollout, and gives shares from 0 to 1 by name. A score that is None
(a judge that failed, no box to compare) is in no mean; what is a mean over all rows says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Scored = tuple[str, float | None]
"""The kind of a task and its score."""
Aggregate = Callable[[Sequence[Scored]], Mapping[str, Any]]


def mean(scored: Iterable[Scored]) -> float | None:
    """The mean over tasks (micro average); None of nothing."""
    known = [score for _, score in scored if score is not None]
    return sum(known) / len(known) if known else None


def by_group(scored: Sequence[Scored], group: Callable[[str], str]) -> dict[str, float | None]:
    """The mean of each group of kinds."""
    names = sorted({group(kind) for kind, _ in scored})
    return {name: mean(s for s in scored if group(s[0]) == name) for name in names}


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of those means that there are (macro average)."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def micro_and_kinds(scored: Sequence[Scored]) -> dict[str, Any]:
    """The mean over all tasks, that of each kind, and the mean of the kinds' means.

    V*: the published figure is the mean over all 191 questions ("overall" in the table of V*, P. Wu and
    S. Xie, CVPR 2024), which is not the mean of its two categories of 115 and 76. MVBench: 20 kinds of 200
    each, where both are the same (K. Li et al., CVPR 2024).
    """
    kinds = by_group(scored, lambda kind: kind)
    return {
        "all": mean(scored),
        "kinds": kinds,
        "mean_of_kinds": mean_of(kinds.values()),
        "n_kinds": len(kinds),
    }


def mean_of_cycles(scored: Sequence[Scored]) -> dict[str, Any]:
    """HR-Bench: the accuracy of each cycle of the options, then the mean over cycles.

    A kind is "CATEGORY/CYCLE". It is not the share of questions that are right in all four cycles.

    Source: HR-Bench (W. Wang et al., AAAI 2025), and the task "hrbench" of lmms-eval.
    """

    def cycle(kind: str) -> str:
        return kind.partition("/")[2]

    categories = sorted({kind.partition("/")[0] for kind, _ in scored})
    parts = {c: [s for s in scored if s[0].partition("/")[0] == c] for c in categories}
    cycles = by_group(scored, cycle)
    return {
        **{category: mean_of(by_group(part, cycle).values()) for category, part in parts.items()},
        "all": mean_of(cycles.values()),
        "cycles": cycles,
    }


def mean_over_all_rows(scored: Sequence[Scored]) -> dict[str, Any]:
    """TreeBench: the mean of each subtask and protocol, and of all rows.

    A kind is "PROTOCOL/SUBTASK". For mIoU, a row without a box in its output counts as 0 (`all_rows`), beside
    the mean of those that have one (`all`).

    Source: TreeBench (H. Wang et al., "Traceable Evidence Enhanced Visual Grounded Reasoning", 2025).
    """
    return {
        "all": mean(scored),
        "all_rows": mean((kind, score or 0.0) for kind, score in scored),
        "rows_with_score": sum(score is not None for _, score in scored),
        "protocols": by_group(scored, lambda kind: kind.partition("/")[0]),
        "subtasks": by_group(scored, lambda kind: kind),
    }


def mean_best_iou(boxes: Sequence[Any], references: Sequence[Any]) -> float:
    """For each reference box the best IoU of a given one, then their mean; 0 without boxes.

    Args:
        boxes: given ones (`core.geometry.Box`), in the unit of the references.
        references: at least one.

    Source: the evaluation of TreeBench, as above.
    """
    return sum(max((box.iou(r) for box in boxes), default=0.0) for r in references) / len(references)
