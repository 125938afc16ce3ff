"""Summaries of evaluations as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from pixelreasoner.core.terminal import visible_line
from pixelreasoner.evals.metrics import Summary


def summary_table(summaries: Mapping[str, Summary]) -> Table:
    """One column per model, by name; shares in percent, in brackets over tasks that need the operation."""
    table = Table(title="held-out tasks, % (of those that need the operation)")
    table.add_column("")
    for name in summaries:
        table.add_column(Text(visible_line(name)), justify="right")
    columns = list(summaries.values())
    table.add_row("tasks", *(str(s["n"]) for s in columns))
    table.add_row("accuracy", *(_both(s["accuracy"]) for s in columns))
    for kind in sorted({kind for s in columns for kind in s["accuracy"]["by_kind"]}):
        by_kind = (s["accuracy"]["by_kind"].get(kind) for s in columns)
        cells = ("–" if shares is None else _both(shares) for shares in by_kind)
        table.add_row(Text(f"  {visible_line(kind)}"), *cells)
    for name in dict.fromkeys(name for s in columns for name in s["scores"]):
        found = (s["scores"].get(name) for s in columns)
        table.add_row(Text(visible_line(name)), *("–" if f is None else _percent(f["all"]) for f in found))
    table.add_row("RaPR", *(_both(s["rapr"]) for s in columns))
    table.add_row("failed operations", *(_percent(s["op_error_rate"]) for s in columns))
    table.add_row("operations on the cue", *(f"({_percent(s['cue_coverage'])})" for s in columns))
    table.add_row("IoU with the cue", *(f"({_percent(s['cue_iou'])})" for s in columns))
    table.add_row("crops of the whole image", *(_percent(s["whole_image_crops"]) for s in columns))
    return table


def _both(shares: dict[str, float | None]) -> str:
    return f"{_percent(shares['all'])} ({_percent(shares['needs_operation'])})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
