"""`pixelreasoner runs`: the runs below a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def runs(folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")] = Path("runs")) -> None:
    """List the runs below a folder: kind, state, steps, last metrics, and how long ago each wrote something.

    A run is "running" while a process works on it, "finished" when its result is there, "failed" when an
    error ended it, and else "stopped": the same command with --resume goes on.

    Args:
        folder: Where to look.
    """
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
