"""The report of a demo run: one page with the finding, the tables, the curves and some trajectories.

Every share has its 95 % interval, as the evaluation gives it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from pixelreasoner.core.intervals import wilson_interval
from pixelreasoner.core.metrics_file import Curve
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.html import render, write_page
from pixelreasoner.viewer.plots import Share, curve_svg, interval_svg, run_colours, share_curve_svg
from pixelreasoner.viewer.steps import view
from pixelreasoner.viewer.tables import Cell, Key, Table, percent, share_cells

MODEL_NAMES = {
    "base": "Base",
    "warm_start": "Warm start",
    "rl_no_curiosity": "RL without curiosity",
    "rl_curiosity": "RL with curiosity",
}
CURVE_NAMES = {"rapr": "RaPR", "reward": "Reward", "accuracy": "Accuracy"}
"""Of the rollouts of training."""
NEEDS = "needs_operation"
CURVE_ORDER = ("rl_curiosity", "rl_no_curiosity")


@dataclass(frozen=True)
class HeldOut:
    """Accuracy on held-out tasks that need the operation, while a run trains."""

    curves: Mapping[str, Curve]
    """Run -> accuracy at the steps that were evaluated."""
    n: int
    """Tasks of each evaluation."""


@dataclass(frozen=True)
class Example:
    """One trajectory of the report."""

    label: str
    trajectory: Trajectory


def write_report(
    path: Path,
    *,
    metrics: Mapping[str, Any],
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    held_out: HeldOut,
    examples: Sequence[Example],
    pages: str,
    meta: Mapping[str, object],
) -> None:
    """Write the report at `path`, without external resources.

    Args:
        path: the HTML file; its folder is made.
        metrics: what `metrics.json` holds: `wall_s` and, per model, a summary of `evals.metrics`.
        curves: run -> metric -> the value at each step.
        held_out: evaluations during training; empty curves are left out.
        examples: in the order to show them.
        pages: address of the page with all attempts, relative to `path`.
        meta: facts about the run: seed, versions, the command.

    Raises:
        MissingExtraError: matplotlib is not installed.
        RecordError: the place cannot be written to.
    """
    models: Mapping[str, Any] = metrics["models"]
    runs = _in_order(curves)
    colours = run_colours([model_name(run) for run in runs])
    page = render(
        "report.html",
        title="Pixel-space reasoning, trained on this machine",
        headline=headline(models),
        finding=[Markup(svg) for svg in _finding(models, held_out, colours)],
        overview=overview_table(models),
        kinds=kind_tables(models),
        keys=[Key(name, colour) for name, colour in colours.items()],
        curves=[
            Markup(
                curve_svg(
                    {model_name(r): curves[r][m] for r in runs if m in curves[r]}, title=name, colours=colours
                )
            )
            for m, name in CURVE_NAMES.items()
            if any(m in curves[r] for r in runs)
        ],
        examples=[
            (e.label, view(e.trajectory), f"{pages}#task={quote(e.trajectory.task.id)}") for e in examples
        ],
        pages=pages,
        n_tasks=_counts(models),
        meta={"wall time": _duration(metrics["wall_s"]), **meta},
    )
    write_page(path, page)


def headline(models: Mapping[str, Any]) -> str:
    """Return the finding in figures, whatever its direction."""
    parts = [
        f"{label} {percent(models[name]['accuracy'][NEEDS])} right"
        f" (RaPR {percent(models[name]['rapr'][NEEDS])})"
        for name, label in (
            ("rl_curiosity", "RL with curiosity gets"),
            ("rl_no_curiosity", "RL without it"),
            ("warm_start", "the warm start before both"),
        )
        if name in models
    ]
    if not parts:
        return ""
    return f"On held-out tasks that need a visual operation, {', '.join(parts)}."


def _finding(models: Mapping[str, Any], held_out: HeldOut, colours: Mapping[str, str]) -> list[str]:
    """Return what the headline says as figures, where it was measured."""
    figures: list[str] = []
    for key, title in (("accuracy", "Accuracy where needed"), ("rapr", "RaPR where needed")):
        shares = {
            model_name(m): Share(s[key][NEEDS], *s["interval95"][key][NEEDS])
            for m, s in models.items()
            if s[key][NEEDS] is not None
        }
        if shares:
            figures.append(interval_svg(shares, title=title, colours=colours))
    runs = {
        model_name(run): [
            (step, Share(value, *wilson_interval(value, held_out.n)))
            for step, value in zip(held_out.curves[run].steps, held_out.curves[run].values, strict=True)
            if not math.isnan(value)
        ]
        for run in _in_order(held_out.curves)
    }
    runs = {name: points for name, points in runs.items() if points}
    if runs:
        warm = models.get("warm_start", {}).get("accuracy", {}).get(NEEDS)
        start = None if warm is None else (model_name("warm_start"), warm)
        title = "Accuracy where needed, in training"
        figures.insert(0, share_curve_svg(runs, title=title, colours=colours, start=start))
    return figures


def overview_table(models: Mapping[str, Any]) -> Table:
    """Return a row per model over all held-out tasks; the best cell of each column is marked."""
    columns: list[tuple[str, list[Cell]]] = []
    for key, name in (("accuracy", "accuracy"), ("rapr", "RaPR")):
        for part, words in (("all", "all"), (NEEDS, "needs operation")):
            shares = [m[key][part] for m in models.values()]
            intervals = [m["interval95"][key][part] for m in models.values()]
            columns.append((f"{name}, {words}", share_cells(shares, intervals, largest=True)))
    errors = [m["op_error_rate"] for m in models.values()]
    columns.append(("failed operations", share_cells(errors, [None] * len(errors), largest=False)))
    return Table(
        caption=f"All held-out tasks (n = {_counts(models)})",
        columns=tuple(name for name, _ in columns),
        rows=tuple((model_name(m), tuple(cells[i] for _, cells in columns)) for i, m in enumerate(models)),
    )


def kind_tables(models: Mapping[str, Any]) -> list[Table]:
    """Return accuracy per kind: a row per kind, a column per model; the best cell of each row is marked."""
    kinds = list(dict.fromkeys(kind for m in models.values() for kind in m["accuracy"]["by_kind"]))
    tables: list[Table] = []
    for part, caption in ((NEEDS, "Accuracy where an operation is needed"), ("all", "Accuracy, all tasks")):
        rows: list[tuple[str, tuple[Cell, ...]]] = []
        for kind in kinds:
            shares = [m["accuracy"]["by_kind"].get(kind, {}).get(part) for m in models.values()]
            intervals = [
                m["interval95"]["accuracy"]["by_kind"].get(kind, {}).get(part) for m in models.values()
            ]
            rows.append((kind, tuple(share_cells(shares, intervals, largest=True))))
        tables.append(Table(caption, tuple(model_name(m) for m in models), tuple(rows)))
    return tables


def model_name(key: str) -> str:
    """Return the name of a model of metrics.json on the page."""
    return MODEL_NAMES.get(key, key.replace("_", " ").capitalize())


def _in_order(runs: Iterable[str]) -> list[str]:
    """Return runs in the order of their colours."""
    names = list(runs)
    return [r for r in CURVE_ORDER if r in names] + [r for r in names if r not in CURVE_ORDER]


def _counts(models: Mapping[str, Any]) -> str:
    return " / ".join(map(str, sorted({m["n"] for m in models.values()})))


def _duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    return f"{minutes} min {s} s"
