"""`pixelreasoner show`: look at recorded trajectories."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import tyro


def show(
    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE.jsonl")],
    *,
    html: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    limit: int = 20,
) -> None:
    """Print trajectories, or write them to a page.

    Args:
        file: Trajectories of a synthesis, a training run or an evaluation.
        html: Write a page with the pictures instead of printing.
        limit: How many to show, from the start of the file.
    """
    from rich.console import Console

    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.records import read_trajectories
    from pixelreasoner.viewer.html import save_html
    from pixelreasoner.viewer.terminal import print_trajectory

    # A run that is still being written may end in half a line.
    trajectories = islice(read_trajectories(file, tolerate_truncation=True), limit)
    console = Console()
    if html is None:
        shown = 0
        for shown, trajectory in enumerate(trajectories, start=1):  # noqa: B007 - counts what it prints
            print_trajectory(console, trajectory)
    else:
        found = list(trajectories)
        shown = len(found)
        if found:
            save_html(found, html, title=f"{file.stem.replace('_', ' ')}: {shown} trajectories")
            console.print(f"{html}: {shown} trajectories", highlight=False)
    if not shown:
        raise RecordError(f"{file} holds no trajectories")
