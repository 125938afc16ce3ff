"""`pixelreasoner runs`: the runs below a folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pixelreasoner.cli.options import option
from pixelreasoner.core.run_folder import METRICS_FILE

if TYPE_CHECKING:
    from pixelreasoner.viewer.runs import Run


def runs(folder: Annotated[tyro.conf.Positional[Path], option("[DIR]")] = Path("runs")) -> None:
    """List the runs below a folder.

    A line for each: kind, state, steps, last metrics, and how long ago it wrote something. A run is "running"
    while a process works on it, "finished" when its result is there, "failed" when an error ended it, and
    else "stopped": the same command with --resume goes on.

    Args:
        folder: Where to look.
    """
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.terminal import TerminalConsole
    from pixelreasoner.viewer.runs import find_runs, runs_table

    if not folder.is_dir():
        raise RecordError(f"{folder} is not a folder; name the one that your runs are in")
    found = find_runs(folder)
    if not found:
        raise RecordError(f"there is no run in {folder} or below it")
    console = TerminalConsole()
    console.print(runs_table(found, folder, width=console.width))
    if console.is_terminal:
        say_done({}, _next(found[0]))


def _next(run: Run) -> dict[str, str]:
    """What may be done with the run that wrote last."""
    folder = str(run.folder)
    if run.state in ("stopped", "failed") and run.kind:
        return {"Go on": shlex.join([run.kind, folder, "--resume"])}
    if (run.folder / METRICS_FILE).exists():
        return {"Curves": shlex.join(["plot", folder])}
    return {"Trajectories": shlex.join(["show", folder, "--table"])}
