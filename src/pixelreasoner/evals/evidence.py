"""What the operations of a model were worth: counts from a plain evaluation and its controls.

Pure: outcomes go in (`evals.outcomes`), a mapping that is ready for JSON comes out. Every figure has its n
and a 95 % interval: Wilson's for a share, Bonett and Price's for a paired difference (`core.intervals`), the
paired bootstrap over tasks elsewhere (`evals.resampling`). An answer is right with a score of at least
`swaps.RIGHT`; accuracies are means of scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.intervals import paired_interval, wilson_interval
from pixelreasoner.core.localisation import Localisation
from pixelreasoner.core.task import Task
from pixelreasoner.evals.box_mapping import box_mapping
from pixelreasoner.evals.gain_shares import BLANK, PLAIN, WITHOUT, gain_shares
from pixelreasoner.evals.outcomes import Outcome, aligned
from pixelreasoner.evals.resampling import percentile_interval, resampled_means
from pixelreasoner.evals.statistics import bootstrap_interval
from pixelreasoner.evals.swaps import RIGHT, answer_of_donor
from pixelreasoner.rewards.scorers import Scorer

RANDOM, SWAP = "random_crop", "swap"
REPLACED = (BLANK, RANDOM, SWAP)
"""Controls that show something in the place of results."""

Runs = Mapping[str, Sequence[Outcome]]
"""`plain` and its controls -> the outcome of each task."""
Evidence = dict[str, Any]


def evidence(runs: Runs, *, scorer: Scorer, base: Runs | None = None) -> Evidence:
    """What a plain evaluation and its controls say::

        {"n", "all": PART, "needs_operation": PART or None,
         "over_base": `gain_shares.gain_shares`, or None without a base,
         "localisation": {"cue_coverage", "cue_iou", "whole_image_crops"}: each a figure or None,
         "box_mapping": `box_mapping.box_mapping`, or None}

    A PART is of all tasks, or of those that need an operation::

        {"n", "accuracy": {RUN: figure}, "unanswered": {RUN: share of tasks without an answer},
         "called": share of tasks where the plain rollout called,
         "call":   plain beside no_operations, on the tasks where the plain rollout called,
         "schema": the same where it did not call: what offering operations does alone,
         "pixels": {CONTROL: plain beside the control, on the tasks where the plain rollout read a result},
         "answers": {CONTROL: {"n", "replaced": counts, "changed": figure}}, on the same tasks,
         "swapped": what `swapped` returns, or None}

    A figure is {"n", "mean", "interval95"}; a paired count is what `paired` returns. What has no tasks is
    None.

    Args:
        runs: `plain`, and those of `no_operations`, `blank`, `random_crop` and `swap` that there are.
        scorer: judges answers; it says whether two of them are the same, too.
        base: `plain` and `no_operations` of the base, and `blank` where it calls.

    Raises:
        PixelReasonerError: there is no plain run, or the runs are of different tasks.
    """
    if not runs.get(PLAIN):
        raise PixelReasonerError("there is no plain evaluation to compare the controls with; make it first")
    named = [*runs.items(), *((f"base {name}", outcomes) for name, outcomes in (base or {}).items())]
    together = aligned(named)
    ours = {name: together[name] for name in runs}
    bases = {name: together[f"base {name}"] for name in base or {}}
    plain = ours[PLAIN]
    needing = [o.needs_operation for o in plain]
    tasks = {o.task.id: o.task for o in plain}  # a donor need not be of the part that is looked at
    return {
        "n": len(plain),
        "all": _part(ours, scorer, tasks),
        "needs_operation": _part(_chosen(ours, needing), scorer, tasks) if any(needing) else None,
        "over_base": gain_shares(ours, bases)
        if {WITHOUT, BLANK} <= ours.keys() and {PLAIN, WITHOUT} <= bases.keys()
        else None,
        "localisation": _localisation(plain),
        "box_mapping": box_mapping([box for o in plain for box in o.boxes]),
    }


def _part(runs: Runs, scorer: Scorer, tasks: Mapping[str, Task]) -> dict[str, Any]:
    plain = runs[PLAIN]
    called, looked = [o.called for o in plain], [o.looked for o in plain]
    silent = [not c for c in called]
    without = runs.get(WITHOUT)
    controls = [name for name in REPLACED if name in runs]
    return {
        "n": len(plain),
        "accuracy": {name: mean_figure([o.score for o in outcomes]) for name, outcomes in runs.items()},
        "unanswered": {
            name: share_figure([o.answer is None for o in outcomes]) for name, outcomes in runs.items()
        },
        "called": share_figure(called),
        "call": None if without is None else paired(*_pick(plain, without, called)),
        "schema": None if without is None else paired(*_pick(plain, without, silent)),
        "pixels": {name: paired(*_pick(plain, runs[name], looked)) for name in controls},
        "answers": {name: _answers(*_pick(plain, runs[name], looked), scorer) for name in controls},
        "swapped": swapped(runs, scorer, tasks) if SWAP in runs else None,
    }


# --------------------------------------------------------------------------------------- paired counts


def paired(first: Sequence[Outcome], second: Sequence[Outcome]) -> dict[str, Any] | None:
    """The same tasks in two runs, in the terms of MED (arXiv 2602.01334); None where there are none.

    {"n", "both", "gain": right in the first only, "harm": right in the second only, "neither": counts,
     "net": {"mean": (gain - harm) / n, "interval95"}}
    """
    n = len(first)
    if not n:
        return None
    pairs = [(a.right, b.right) for a, b in zip(first, second, strict=True)]
    gain, harm = pairs.count((True, False)), pairs.count((False, True))
    return {
        "n": n,
        "both": pairs.count((True, True)),
        "gain": gain,
        "harm": harm,
        "neither": pairs.count((False, False)),
        "net": {"mean": (gain - harm) / n, "interval95": list(paired_interval(gain, harm, n))},
    }


# --------------------------------------------------------------------------------------- answers


def _answers(plain: Sequence[Outcome], control: Sequence[Outcome], scorer: Scorer) -> dict[str, Any]:
    """How often the answer is another one than in the plain run."""
    pairs = list(zip(plain, control, strict=True))
    shown = [(p, c) for p, c in pairs if c.replaced]
    changed = [not same_answer(p.answer, c.answer, p.task, scorer) for p, c in shown]
    return {"n": len(pairs), "replaced": len(shown), "changed": share_figure(changed)}


def swapped(runs: Runs, scorer: Scorer, tasks: Mapping[str, Task]) -> dict[str, Any]:
    """What becomes of the answer when the crop is another question's.

    Of the tasks where the donor's right answer could be told apart: the donor's answer is one that this
    question can have (`swaps.answer_of_donor`), and neither the right nor the plain answer. Each task is
    counted once: `follows` gives the donor's answer, `keeps` gives the plain one, `other` is the rest.
    `chance` is how often the answer to a blank picture is the donor's, for comparison.

    Args:
        runs: `plain` and `swap`, and `blank` where it is there.
        scorer: judges answers.
        tasks: all tasks by their ids, the donors' among them.

    Returns:
        {"n", "n_swapped", "follows", "keeps", "other", "chance", "by_kind": {KIND: follows}}; figures, None
        where n is 0.
    """
    kinds: list[str] = []
    follows: list[bool] = []
    keeps: list[bool] = []
    chance: list[bool] = []
    blank = runs.get(BLANK, ())
    for at, (before, after) in enumerate(zip(runs[PLAIN], runs[SWAP], strict=True)):
        donor = tasks.get(after.donor)
        given = None if donor is None else answer_of_donor(donor, before.task)
        if given is None or scorer(given, before.task.answers, before.task) >= RIGHT:
            continue
        if same_answer(before.answer, given, before.task, scorer):
            continue
        kinds.append(before.task.kind)
        follows.append(same_answer(after.answer, given, after.task, scorer))
        keeps.append(not follows[-1] and same_answer(after.answer, before.answer, after.task, scorer))
        if blank:
            chance.append(same_answer(blank[at].answer, given, before.task, scorer))
    other = [not f and not k for f, k in zip(follows, keeps, strict=True)]
    return {
        "n": len(follows),
        "n_swapped": sum(o.replaced for o in runs[SWAP]),
        "follows": share_figure(follows),
        "keeps": share_figure(keeps),
        "other": share_figure(other),
        "chance": share_figure(chance),
        "by_kind": {
            kind: share_figure([f for f, k in zip(follows, kinds, strict=True) if k == kind])
            for kind in sorted(set(kinds))
        },
    }


def same_answer(first: str | None, second: str | None, task: Task, scorer: Scorer) -> bool:
    """Whether two answers to a task are the same to its scorer; no answer is the same as no answer only."""
    if first is None or second is None:
        return first is second
    return first.strip() == second.strip() or scorer(first, (second,), task) >= RIGHT


# --------------------------------------------------------------------------------------- where it looked


def _localisation(plain: Sequence[Outcome]) -> dict[str, Any]:
    """Where the operations of the plain run looked, on tasks whose cue is known.

    Coverage alone would call a crop of the whole image a hit: the IoU and the share of such crops stand
    beside it.
    """
    found = [o.localisation for o in plain]
    total = Localisation.total(found)
    return {
        "cue_coverage": _wilson(total.n_hits, total.n_inspected),
        "cue_iou": _ratio([(one.iou, one.n_boxed) for one in found]),
        "whole_image_crops": _wilson(total.n_whole, total.n_crops),
    }


def _ratio(parts: Sequence[tuple[float, float]]) -> dict[str, Any] | None:
    """The mean of a sum over a count, both of each task; tasks are drawn, not operations."""
    used = np.array([part for part in parts if part[1]], dtype=float)
    if not len(used):
        return None
    sums, counts = resampled_means(used).T
    return {
        "n": int(used[:, 1].sum()),
        "mean": float(used[:, 0].sum() / used[:, 1].sum()),
        "interval95": list(percentile_interval(sums / counts)),
    }


# --------------------------------------------------------------------------------------- figures


def share_figure(values: Sequence[bool]) -> dict[str, Any] | None:
    """A share with Wilson's interval; None of nothing."""
    return _wilson(sum(values), len(values))


def _wilson(k: int, n: int) -> dict[str, Any] | None:
    return {"n": n, "mean": k / n, "interval95": list(wilson_interval(k / n, n))} if n else None


def mean_figure(values: Sequence[float]) -> dict[str, Any] | None:
    """A mean of scores with its interval: Wilson's where all are 0 or 1, else the bootstrap's."""
    if not values:
        return None
    if set(values) <= {0.0, 1.0}:
        return _wilson(int(sum(values)), len(values))
    mean = sum(values) / len(values)
    return {"n": len(values), "mean": mean, "interval95": list(bootstrap_interval(values))}


def _pick(
    first: Sequence[Outcome], second: Sequence[Outcome], chosen: Sequence[bool]
) -> tuple[list[Outcome], list[Outcome]]:
    return (
        [o for o, c in zip(first, chosen, strict=True) if c],
        [o for o, c in zip(second, chosen, strict=True) if c],
    )


def _chosen(runs: Runs, chosen: Sequence[bool]) -> Runs:
    return {name: [o for o, c in zip(run, chosen, strict=True) if c] for name, run in runs.items()}
