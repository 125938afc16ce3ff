"""The report of a demo run: one page with the finding, the tables, the curves and some trajectories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pixelreasoner.core.files import write_text
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.html import render
from pixelreasoner.viewer.plots import curve_svg, run_colours
from pixelreasoner.viewer.steps import view

MODEL_NAMES = {
    "base": "Base",
    "warm_start": "Warm start",
    "rl_no_curiosity": "RL without curiosity",
    "rl_curiosity": "RL with curiosity",
}
CURVE_NAMES = {"rapr": "RaPR", "reward": "Reward", "accuracy": "Accuracy"}
CURVE_ORDER = ("rl_curiosity", "rl_no_curiosity")


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    """(name, cells), a cell per column."""


@dataclass(frozen=True)
class Key:
    """An entry of the curves' legend."""

    name: str
    colour: str


def write_report(
    path: Path,
    *,
    metrics: Mapping[str, Any],
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    examples: Sequence[tuple[str, Trajectory]],
    meta: Mapping[str, object],
) -> None:
    """Write the page at `path`, without external resources.

    Args:
        path: the HTML file; its folder is made.
        metrics: what `metrics.json` holds: `wall_s` and, per model, n, accuracy, rapr, op_error_rate.
        curves: run -> metric -> the value at each step.
        examples: (label, trajectory), in the order to show them.
        meta: facts about the run: seed, versions, the command.

    Raises:
        MissingExtraError: matplotlib is not installed.
        RecordError: the place cannot be written to.
    """
    models: Mapping[str, Any] = metrics["models"]
    runs = [r for r in CURVE_ORDER if r in curves] + [r for r in curves if r not in CURVE_ORDER]
    colours = run_colours(runs)
    page = render(
        "report.html",
        title="Pixel-space reasoning, trained on this machine",
        headline=headline(models),
        overview=overview_table(models),
        kinds=kind_tables(models),
        keys=[Key(model_name(r), colours[r]) for r in runs],
        curves=[
            Markup(curve_svg({r: curves[r][m] for r in runs if m in curves[r]}, title=name, colours=colours))
            for m, name in CURVE_NAMES.items()
            if any(m in curves[r] for r in runs)
        ],
        examples=[(label, view(t)) for label, t in examples],
        meta={"wall time": _duration(metrics["wall_s"]), **meta},
    )
    write_text(path, page)


def headline(models: Mapping[str, Any]) -> str:
    """Return the finding in figures, whatever its direction."""
    parts = [
        f"{label} {_percent(models[name]['accuracy']['needs_operation'])} right"
        f" (RaPR {_share(models[name]['rapr']['needs_operation'])})"
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


def overview_table(models: Mapping[str, Any]) -> Table:
    """Return a row per model over all held-out tasks; the best cell of each column is marked."""
    columns: list[tuple[str, list[float | None], bool, bool]] = [
        ("accuracy, all", [m["accuracy"]["all"] for m in models.values()], True, True),
        (
            "accuracy, needs operation",
            [m["accuracy"]["needs_operation"] for m in models.values()],
            True,
            True,
        ),
        ("RaPR, all", [m["rapr"]["all"] for m in models.values()], False, True),
        ("RaPR, needs operation", [m["rapr"]["needs_operation"] for m in models.values()], False, True),
        ("failed operations", [m["op_error_rate"] for m in models.values()], True, False),
    ]
    cells = [
        _mark_best([_percent(v) if as_percent else _share(v) for v in values], values, largest=largest)
        for _, values, as_percent, largest in columns
    ]
    counts = sorted({m["n"] for m in models.values()})
    return Table(
        caption=f"All held-out tasks (n = {' / '.join(map(str, counts))})",
        columns=tuple(name for name, *_ in columns),
        rows=tuple((model_name(m), tuple(column[i] for column in cells)) for i, m in enumerate(models)),
    )


def kind_tables(models: Mapping[str, Any]) -> list[Table]:
    """Return accuracy per kind: a row per kind, a column per model; the best cell of each row is marked."""
    kinds = list(dict.fromkeys(kind for m in models.values() for kind in m["accuracy"]["by_kind"]))
    tables: list[Table] = []
    for key, caption in (
        ("needs_operation", "Accuracy where an operation is needed"),
        ("all", "Accuracy, all tasks"),
    ):
        rows: list[tuple[str, tuple[Cell, ...]]] = []
        for kind in kinds:
            values = [m["accuracy"]["by_kind"].get(kind, {}).get(key) for m in models.values()]
            rows.append((kind, tuple(_mark_best([_percent(v) for v in values], values, largest=True))))
        tables.append(Table(caption, tuple(model_name(m) for m in models), tuple(rows)))
    return tables


def model_name(key: str) -> str:
    """Return the name of a model of metrics.json on the page."""
    return MODEL_NAMES.get(key, key.replace("_", " ").capitalize())


def _mark_best(texts: Sequence[str], values: Sequence[float | None], *, largest: bool) -> list[Cell]:
    """Return cells with the best value marked; all of several equals, none when all are equal."""
    known = [v for v in values if v is not None and not math.isnan(v)]
    best = (max if largest else min)(known) if len(set(known)) > 1 else None
    return [Cell(t, best=best is not None and v == best) for t, v in zip(texts, values, strict=True)]


def _percent(value: float | None) -> str:
    return f"{100 * value:.1f}\u2009%" if value is not None and not math.isnan(value) else "–"


def _share(value: float | None) -> str:
    return f"{value:.2f}" if value is not None and not math.isnan(value) else "–"


def _duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    return f"{minutes} min {s} s"
