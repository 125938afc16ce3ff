"""`pixelreasoner plot`: the training curves of runs, on the terminal and in a file."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pixelreasoner.cli.options import option

if TYPE_CHECKING:
    from rich.console import Console

    from pixelreasoner.core.metrics_file import Curve

    Panels = dict[str, dict[str, Curve]]
    """metric -> run -> its curve"""

DEFAULT_METRICS = (
    "reward", "accuracy", "rapr", "eval_accuracy", "eval_rapr", "invalid_operations", "loss", "grad_norm",
)  # fmt: skip
"""Drawn when none are named, those that a run has."""
MAX_DEFAULT = 6
PANEL_WIDTH = 52
"""Characters of a panel, at least, where several stand side by side."""
MAX_PANEL_WIDTH = 100
STYLES = ("dark_orange", "dodger_blue2", "green", "medium_orchid", "deep_pink3", "dark_cyan")


def plot(
    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], option("RUN [RUN ...]")],
    *,
    metrics: Annotated[tuple[str, ...], option("NAME [NAME ...]")] = (),
    out: Annotated[Path | None, option("FILE")] = None,
    half_life: Annotated[float | None, option("N")] = None,
) -> None:
    """Draw the curves of training runs.

    A panel for each metric on the terminal, smoothed.

    Args:
        runs: Folders of training runs.
        metrics: Metrics of metrics.jsonl, such as reward, rapr or stop_token_limit.
        out: Also write a picture, .png, .svg or .pdf, with raw and smoothed values (needs matplotlib).
        half_life: Values after which one weighs half in the smoothed line: 3 % of the run when left out; 0
            draws raw values.
    """
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.core.run_folder import ROLLOUTS_FOLDER
    from pixelreasoner.core.terminal import TerminalConsole

    panels = _panels(runs, metrics)
    console = TerminalConsole()
    if out is not None:
        from pixelreasoner.viewer.plots import save_curves

        save_curves(out, panels, half_life=half_life)
    _print_panels(console, panels, half_life)
    if out is not None:
        rollouts = [run for run in runs if (run / ROLLOUTS_FOLDER).is_dir()]
        look = ["show", str(rollouts[-1]), "--step", "-1"] if rollouts else ["runs"]
        say_done({"Picture": out}, {"Look": shlex.join(look)})
    elif console.is_terminal:
        say_done({}, {"As a picture": shlex.join(["plot", *map(str, runs), "--out", "curves.png"])})


def _panels(runs: tuple[Path, ...], metrics: tuple[str, ...]) -> Panels:
    """The curves to draw; a run that lacks a metric is left out of its panel.

    Raises:
        RecordError: no folder is named, one holds no metrics, or no run has a metric that was named.
    """
    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.metrics_file import curve_of, metric_names, read_metrics

    if not runs:
        raise RecordError("name the folder of a training run, or of several; `pixelreasoner runs` lists them")
    rows = dict(zip(_names(runs), map(read_metrics, runs), strict=True))
    there = list(dict.fromkeys(name for r in rows.values() for name in metric_names(r)))
    if unknown := [name for name in metrics if name not in there]:
        raise RecordError(f"there is no metric '{unknown[0]}'; the runs have {', '.join(there)}")
    chosen = (
        metrics or [name for name in DEFAULT_METRICS if name in there][:MAX_DEFAULT] or there[:MAX_DEFAULT]
    )
    if not chosen:
        raise RecordError(f"{', '.join(map(str, runs))}: no step has been recorded yet")
    curves = {name: {run: curve_of(r, name) for run, r in rows.items()} for name in chosen}
    return {name: {run: c for run, c in by_run.items() if c.steps} for name, by_run in curves.items()}


def _names(runs: tuple[Path, ...]) -> list[str]:
    """The shortest paths that tell the runs apart: what follows the folder they share."""
    if len(runs) == 1:
        return [runs[0].resolve().name]
    paths = [run.resolve() for run in runs]
    shared = Path(os.path.commonpath(paths))
    return [str(path.relative_to(shared)) if path != shared else path.name for path in paths]


def _print_panels(console: Console, panels: Panels, half_life: float | None) -> None:
    """As many panels side by side as there is room for, and which colour is which run."""
    from rich.table import Table
    from rich.text import Text

    from pixelreasoner.viewer.plots import smooth_curve
    from pixelreasoner.viewer.terminal_plot import plot_text

    runs = list(dict.fromkeys(run for curves in panels.values() for run in curves))
    styles = {run: STYLES[i % len(STYLES)] for i, run in enumerate(runs)}
    n_columns = max(1, min(len(panels), console.width // PANEL_WIDTH))
    width = min(MAX_PANEL_WIDTH, console.width // n_columns - 2)
    grid = Table.grid(padding=(0, 2, 1, 0))
    texts = [
        plot_text(
            {run: smooth_curve(curve, half_life) for run, curve in curves.items()},
            title=name, styles=styles, width=width,
        )
        for name, curves in panels.items()
    ]  # fmt: skip
    for start in range(0, len(texts), n_columns):
        grid.add_row(*texts[start : start + n_columns])
    console.print(grid)
    console.print(Text("   ").join(Text(f"━━ {run}", style=styles[run]) for run in runs))
