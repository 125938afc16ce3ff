"""Summaries of evaluations as a table for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from pixelreasoner.core.terminal import visible_line
from pixelreasoner.evals.metrics import Summary


def summary_table(summaries: Mapping[str, Summary]) -> Table:
    """One column per model, by name; shares in percent, in brackets over tasks that need the operation."""
    table = Table(title="held-out tasks, % (where needed)")
    table.add_column("")
    for name in summaries:
        table.add_column(Text(visible_line(name), overflow="fold"), justify="right", overflow="fold")
    columns = list(summaries.values())
    row = _Rows(table, columns)
    row("tasks", lambda s: str(s["n"]))
    row("accuracy", lambda s: both(s["accuracy"]))
    row("  standard error", lambda s: both(s["stderr"]["accuracy"]))
    row("  95 %, bootstrap", lambda s: span(s["bootstrap95"]["accuracy"]["all"]))
    for kind in sorted({kind for s in columns for kind in s["accuracy"]["by_kind"]}):
        row(f"  {kind}", lambda s, kind=kind: _of(s["accuracy"]["by_kind"], kind, both))
    for name in sorted({name for s in columns for name in s["scores"]}):
        row(name, lambda s, name=name: _of(s["scores"], name, lambda found: percent(found["all"])))
    if any(s["samples"] > 1 for s in columns):
        _add_samples(row, columns)
    row("RaPR", lambda s: both(s["rapr"]))
    row("  easy / hard", lambda s: f"{percent(s['rapr']['easy'])} / {percent(s['rapr']['hard'])}")
    row("failed operations", lambda s: percent(s["op_error_rate"]))
    for error in sorted({error for s in columns for error in s["operations"]["invalid"]}):
        row(f"  {error}, calls", lambda s, error=error: str(s["operations"]["invalid"].get(error, 0)))
    for name in sorted({name for s in columns for name in s["operations"]["valid"]}):
        row(f"{name}, calls", lambda s, name=name: str(s["operations"]["valid"].get(name, 0)))
    row("operations on the cue", lambda s: f"({percent(s['cue_coverage'])})")
    row("IoU with the cue", lambda s: f"({percent(s['cue_iou'])})")
    row("crops of the whole image", lambda s: percent(s["whole_image_crops"]))
    row("turns", lambda s: _mean(s, "turns", 2))
    row("sampled tokens", lambda s: _mean(s, "sampled_tokens", 0))
    row("visual tokens", lambda s: _mean(s, "visual_tokens", 0))
    row("no box / empty, rollouts", lambda s: f"{s['outputs']['unboxed']} / {s['outputs']['empty']}")
    for reason in sorted({reason for s in columns for reason in s["stop"]} - {"answer"}):
        row(f"stopped by {reason}", lambda s, reason=reason: str(s["stop"].get(reason, 0)))
    if any(s.get("host", {}).get("seconds") for s in columns):
        row("seconds per rollout", _seconds)
    return table


class _Rows:
    """Adds a row with a cell per summary."""

    def __init__(self, table: Table, columns: list[Summary]) -> None:
        self._table, self._columns = table, columns

    def __call__(self, name: str, cell: Callable[[Summary], str]) -> None:
        self._table.add_row(Text(visible_line(name)), *(cell(s) for s in self._columns))


def _add_samples(row: _Rows, columns: list[Summary]) -> None:
    """Avg@k and pass@k, where several rollouts were made of a task."""
    for k in sorted({int(k) for s in columns for k in s["avg_at_k"] if int(k) > 1}):
        row(f"Avg@{k}", lambda s, k=k: _of(s["avg_at_k"], str(k), percent))
    for k in sorted({int(k) for s in columns for k in s["pass_at_k"]}):
        row(f"pass@{k}", lambda s, k=k: _of(s["pass_at_k"], str(k), percent))


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def span(interval: list[float] | None) -> str:
    """An interval of shares in percent."""
    return "–" if interval is None else f"{percent(interval[0])} to {percent(interval[1])}"


def both(shares: Mapping[str, float | None]) -> str:
    return f"{percent(shares['all'])} ({percent(shares['needs_operation'])})"


def _of(found: Mapping[str, Any], key: str, text: Callable[[Any], str]) -> str:
    return text(found[key]) if key in found else "–"


def _mean(summary: Summary, name: str, digits: int) -> str:
    found = summary["per_rollout"][name]
    return "–" if found is None else f"{found['mean']:.{digits}f}"


def _seconds(summary: Summary) -> str:
    found = summary.get("host", {}).get("seconds")
    return "–" if found is None else f"{found['per_rollout']:.2f}"
