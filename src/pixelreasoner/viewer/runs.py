"""The runs below a folder, as a table: what each is, how it stands, its last metrics."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from pixelreasoner.core.files import count_lines
from pixelreasoner.core.metrics_file import last_metrics
from pixelreasoner.core.run_folder import (
    CONFIG_FILE,
    JOURNAL_FILE,
    METRICS_FILE,
    SUMMARY_FILE,
    TRAJECTORIES_FILE,
    WAITING_FOLDER,
)
from pixelreasoner.core.run_status import STATUS_FILE, RunState, read_status, state_of
from pixelreasoner.core.terminal import visible_line

SHOWN = (
    "reward", "accuracy", "rapr", "eval_accuracy", "eval_rapr", "loss", "grad_norm",
)  # fmt: skip
"""Metrics of the table, the most telling first; as many as there is room for."""
ALARM = "collapse_alarm"
WIDE = 120
"""Columns of a terminal from which on more metrics are shown, on one line, and paths in full."""
METRICS_IN_NARROW, METRICS_IN_WIDE = 3, 5
STYLES: dict[RunState, str] = {"running": "green", "finished": "", "stopped": "yellow", "failed": "red"}
_INNER = {"model", "checkpoints", "media", "rollouts", "start"}
"""Folders within a run, which hold no runs."""


@dataclass(frozen=True)
class Run:
    """One run, as its folder tells it."""

    folder: Path
    kind: str
    """The command; empty where nobody wrote it down."""
    state: RunState
    step: int
    """Steps done; of a synthesis or an evaluation, the trajectories made, those that wait for an earlier one
    included, and the places of a synthesis that stay empty."""
    total: int | None
    metrics: dict[str, float]
    """Those of the last step; of an evaluation, its result."""
    changed: float
    """When it last wrote something, in Unix seconds."""
    error: str = ""
    alarm: bool = False
    """Whether RaPR has collapsed (`collapse_alarm` of the last step)."""


def find_runs(root: Path) -> list[Run]:
    """The runs in a folder and below it, the one that wrote last first."""
    return sorted(map(read_run, _run_folders(root)), key=lambda run: -run.changed)


def read_run(folder: Path) -> Run:
    """What a run's folder tells."""
    status, row, summary = read_status(folder), last_metrics(folder), _summary(folder)
    written = [folder / name for name in (METRICS_FILE, TRAJECTORIES_FILE, SUMMARY_FILE, STATUS_FILE)]
    times = [path.stat().st_mtime for path in written if path.exists()]
    metrics = {name: float(row[name]) for name in SHOWN if isinstance(row.get(name), (int, float))}
    return Run(
        folder=folder,
        kind=status.kind if status else "",
        state=state_of(folder),
        step=int(row["step"]) if row else _made(folder),
        total=status.total if status else None,
        metrics=metrics | summary,
        changed=max(times, default=(folder / CONFIG_FILE).stat().st_mtime),
        error=status.error if status else "",
        alarm=row.get(ALARM) == 1,
    )


def runs_table(runs: list[Run], root: Path, *, width: int, now: float | None = None) -> Table:
    """One line per run; in a narrow terminal its metrics stand below one another.

    Args:
        runs: in the order to show them.
        root: paths are shown relative to it.
        width: of the terminal, in columns.
        now: Unix seconds; None for the clock's.
    """
    wide, now = width >= WIDE, time.time() if now is None else now
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("run", overflow="fold")
    for name in ("kind", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("step", justify="right", no_wrap=True)
    table.add_column("last metrics", overflow="fold", min_width=20)
    table.add_column("age", justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            Text(visible_line(_relative(run.folder, root))),
            Text(visible_line(run.kind or "–")),
            Text(run.state, style=STYLES[run.state]),
            f"{run.step}/{run.total}" if run.total else str(run.step),
            _error(run) if run.state == "failed" else _metrics(run, wide=wide),
            age(now - run.changed),
        )
    return table


def age(seconds: float) -> str:
    """A time span in its largest unit: "40 s", "12 min", "3 h", "5 d"."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def _run_folders(root: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _INNER and not name.startswith("."))
        # A checkpoint folder has files of that kind too, and no configuration of a run.
        if CONFIG_FILE in names:
            yield Path(path)


def _metrics(run: Run, *, wide: bool) -> Text:
    names = list(run.metrics)[: METRICS_IN_WIDE if wide else METRICS_IN_NARROW]
    pairs = [f"{name} {run.metrics[name]:.3g}" for name in names]
    text = Text("  ".join(pairs) if wide else "\n".join(pairs))
    return text.append(("  " if wide else "\n") + "RaPR collapsed", style="yellow") if run.alarm else text


def _error(run: Run) -> Text:
    return Text(visible_line(run.error), style="red")


def _relative(folder: Path, root: Path) -> str:
    return str(folder.relative_to(root)) if folder != root else str(folder)


def _made(folder: Path) -> int:
    """What a run without steps has made so far."""
    journal = folder / JOURNAL_FILE
    in_place = count_lines(journal if journal.exists() else folder / TRAJECTORIES_FILE)
    return in_place + sum(1 for _ in (folder / WAITING_FOLDER).glob("*.jsonl"))


def _summary(folder: Path) -> dict[str, float]:
    """The result of an evaluation, under the names of a run's metrics."""
    try:
        summary: dict[str, Any] = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
        return {name: float(summary[name]["all"]) for name in ("accuracy", "rapr")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
