"""Evaluations of the same tasks against each other: paired differences, their intervals, and tests.

docs/metrics.md has the definitions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.trajectory import SCORE_METRIC
from pixelreasoner.evals.metrics import summarize_scores, task_values
from pixelreasoner.evals.protocol import Protocol, leaves
from pixelreasoner.evals.reading import Evaluation
from pixelreasoner.evals.results import easy_questions
from pixelreasoner.evals.scores import Score
from pixelreasoner.evals.statistics import (
    bootstrap_interval,
    holm,
    mcnemar_exact,
    sign_flip,
    standard_error,
)

Comparison = dict[str, Any]
"""Ready for JSON; `compare` describes it."""
Rollouts = tuple[Score, ...]
_EXPECTED_TO_DIFFER = ("checkpoint", "records", "tasks", "changed", "recipe.n")
"""Keys of a protocol, with all below them, in which the evaluations of two models may differ."""


def compare(
    evaluations: Mapping[str, Evaluation],
    *,
    common: bool = False,
    score: str = SCORE_METRIC,
    without_operations: Evaluation | None = None,
) -> Comparison:
    """Compare evaluations task by task::

        {"schema": 1, "score", "n": tasks, "samples": rollouts per task,
         "left_out": {NAME: tasks},
         "runs": {NAME: {"path", "summary": as `summarize_scores`, over these tasks; "protocol"}},
         "protocol_differences": [{"key", "values": {NAME: value}}],
         "protocol_unknown": [NAME],
         "pairs": [{"a", "b", "n", "difference": mean of b - a, "stderr", "bootstrap95",
                    "only_a", "only_b": tasks that one alone gets right; None with several samples,
                    "mcnemar_p", "sign_flip_p", "test": the one that "p" is of, "p", "p_holm",
                    "by_kind": {KIND: the same without p_holm}}]}

    Args:
        evaluations: by the name to show; two or more.
        common: compare what they share, tasks and samples, where they do not have the same.
        score: the metric to compare: the records' main score, or the name of another one.
        without_operations: says which questions are easy, for RaPR; the same ones for all.

    Raises:
        ConfigError: `without_operations` is of other tasks.
        RecordError: they are not of the same tasks and `common` is off, or share none; or have no such score.
    """
    if len(evaluations) < 2:
        raise RecordError("a comparison needs two evaluations of the same tasks; name another one")
    by_task = {name: _chosen(name, found, score) for name, found in evaluations.items()}
    shared = _shared(by_task, common)
    samples = min(found.samples for found in evaluations.values())
    runs = {name: [tasks[key][:samples] for key in shared] for name, tasks in by_task.items()}
    easy = None if without_operations is None else easy_questions(without_operations, set(shared))
    pairs = [_pair(a, b, runs[a], runs[b]) for a, b in combinations(runs, 2)]
    for pair, adjusted in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = adjusted
    protocols = {name: found.protocol for name, found in evaluations.items()}
    return {
        "schema": 1,
        "score": score,
        "n": len(shared),
        "samples": samples,
        "left_out": {name: len(found.by_task) - len(shared) for name, found in evaluations.items()},
        "runs": {
            name: {
                "path": str(evaluations[name].path),
                "summary": summarize_scores(
                    [s for rollouts in tasks for s in rollouts], samples=samples, easy=easy
                ),
                "protocol": protocols[name],
            }
            for name, tasks in runs.items()
        },
        "protocol_differences": protocol_differences(protocols),
        "protocol_unknown": [name for name, protocol in protocols.items() if protocol is None],
        "pairs": pairs,
    }


def protocol_differences(protocols: Mapping[str, Protocol | None]) -> list[dict[str, Any]]:
    """Every key in which known protocols differ, but for the checkpoint: its values by name, in order."""
    known = {name: dict(leaves(protocol)) for name, protocol in protocols.items() if protocol is not None}
    keys = sorted({key for found in known.values() for key in found})
    different = (
        {"key": key, "values": {name: found.get(key) for name, found in known.items()}}
        for key in keys
        if not any(key == part or key.startswith(f"{part}.") for part in _EXPECTED_TO_DIFFER)
    )
    return [d for d in different if len({_text(value) for value in d["values"].values()}) > 1]


def warnings_of(comparison: Comparison) -> list[str]:
    """What a reader of a comparison has to know, in sentences."""
    said = [
        f"the protocol of {name} is not known; what follows may compare unlike settings"
        for name in comparison["protocol_unknown"]
    ]
    keys = [difference["key"] for difference in comparison["protocol_differences"]]
    if keys:
        said.append(f"the protocols differ in {', '.join(keys)}; a difference may come from there")
    for name, n in comparison["left_out"].items():
        if n:
            said.append(f"{n} tasks of {name} are left out: the others do not have them")
    return said


def comparison_text(comparison: Comparison) -> str:
    """The text of a file that holds a comparison."""
    return json.dumps(comparison, indent=2) + "\n"


# -------------------------------------------------------------------------------------- which tasks


def _chosen(name: str, evaluation: Evaluation, score: str) -> dict[str, Rollouts]:
    """The rollouts by task, with the chosen score as their score."""
    if score == SCORE_METRIC:
        return dict(evaluation.by_task)
    found: dict[str, Rollouts] = {}
    for task_id, rollouts in evaluation.by_task.items():
        values = [dict(s.other_scores).get(score) for s in rollouts]
        if None in values:
            there = ", ".join(sorted({SCORE_METRIC, *(n for s in rollouts for n, _ in s.other_scores)}))
            raise RecordError(f"{name}: task {task_id} has no score '{score}'; it has {there}")
        found[task_id] = tuple(
            replace(s, score=value) for s, value in zip(rollouts, values, strict=True) if value is not None
        )
    return found


def _shared(by_task: Mapping[str, Mapping[str, Rollouts]], common: bool) -> list[str]:
    """The ids of the tasks that all have, in the order of the first evaluation.

    Raises:
        RecordError: some have others, or other samples, and `common` is off; or there is none.
    """
    (first_name, first), *others = by_task.items()
    shared = [
        key
        for key, rollouts in first.items()
        if all(key in found and found[key][0].task_digest == rollouts[0].task_digest for _, found in others)
    ]
    if not shared:
        raise RecordError(
            f"{' and '.join(by_task)} have no task in common; compare evaluations of the same tasks"
        )
    if common:
        return shared
    for name, found in others:
        if problem := _difference(first_name, first, name, found):
            raise RecordError(f"{problem}; evaluate both alike, or compare what they share with --common")
    return shared


def _difference(
    first_name: str, first: Mapping[str, Rollouts], name: str, found: Mapping[str, Rollouts]
) -> str | None:
    """What of the tasks of two evaluations is not the same."""
    for one, other, owner, lacking in ((first, found, first_name, name), (found, first, name, first_name)):
        if missing := [key for key in one if key not in other]:
            return f"{len(missing)} tasks of {owner} are not in {lacking} (the first is '{missing[0]}')"
    changed = [key for key in first if first[key][0].task_digest != found[key][0].task_digest]
    if changed:
        return (
            f"{len(changed)} tasks ask something else in {name} than in {first_name} (the first is "
            f"'{changed[0]}')"
        )
    counts = [len(next(iter(tasks.values()))) for tasks in (first, found)]
    if counts[0] != counts[1]:
        return f"{first_name} has {counts[0]} rollouts per task and {name} has {counts[1]}"
    return None


# --------------------------------------------------------------------------------------------- pairs


def _pair(a: str, b: str, tasks_a: Sequence[Rollouts], tasks_b: Sequence[Rollouts]) -> dict[str, Any]:
    kinds = sorted({rollouts[0].kind for rollouts in tasks_a})
    by_kind: dict[str, Any] = {}
    for kind in kinds:
        places = [i for i, rollouts in enumerate(tasks_a) if rollouts[0].kind == kind]
        by_kind[kind] = _tested([tasks_a[i] for i in places], [tasks_b[i] for i in places])
    return {"a": a, "b": b, **_tested(tasks_a, tasks_b), "by_kind": by_kind}


def _tested(tasks_a: Sequence[Rollouts], tasks_b: Sequence[Rollouts]) -> dict[str, Any]:
    """The difference b - a over tasks, and the tests of it."""
    of_a, of_b = (task_values(tasks, lambda s: s.score) for tasks in (tasks_a, tasks_b))
    differences = [b - a for a, b in zip(of_a, of_b, strict=True)]
    only_a = only_b = mcnemar = None
    if len(tasks_a[0]) == 1:
        right = [(a[0].is_right, b[0].is_right) for a, b in zip(tasks_a, tasks_b, strict=True)]
        only_a, only_b = right.count((True, False)), right.count((False, True))
        mcnemar = mcnemar_exact(only_a, only_b)
    flipped = sign_flip(differences)
    # McNemar's test knows right and wrong only: scores in between need the other one.
    is_binary = mcnemar is not None and set(differences) <= {-1.0, 0.0, 1.0} and {*of_a, *of_b} <= {0.0, 1.0}
    return {
        "n": len(differences),
        "difference": sum(differences) / len(differences),
        "stderr": standard_error(differences),
        "bootstrap95": list(bootstrap_interval(differences)),
        "only_a": only_a,
        "only_b": only_b,
        "mcnemar_p": mcnemar,
        "sign_flip_p": flipped,
        "test": "mcnemar" if is_binary else "sign_flip",
        "p": mcnemar if is_binary else flipped,
    }


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
