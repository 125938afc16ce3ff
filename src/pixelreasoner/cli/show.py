"""`pixelreasoner show`: look at recorded trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

Metric = Annotated[str | None, tyro.conf.arg(metavar="METRIC")]


def show(
    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE.jsonl|RUN")],
    *,
    html: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    table: bool = False,
    step: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    lowest: Metric = None,
    highest: Metric = None,
    stop: Annotated[str | None, tyro.conf.arg(metavar="REASON")] = None,
    task: Annotated[str | None, tyro.conf.arg(metavar="ID")] = None,
    limit: Annotated[int, tyro.conf.arg(metavar="N")] = 20,
) -> None:
    """Print trajectories, or write them to a page.

    Args:
        source: Trajectories of a synthesis or an evaluation, or the folder of a run: of RL, its rollouts.
        html: Write a page with the pictures instead of printing.
        table: A line for each instead of its text.
        step: Only rollouts of this step of RL; -1 is the last one.
        lowest: Those with the lowest values first: reward, advantage, a reward term, operations, turns, ...
        highest: Those with the highest values first.
        stop: Only those that ended so: answer, turn_limit, token_limit, image_limit.
        task: Only rollouts of this task.
        limit: How many to show.
    """
    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.record_query import RecordQuery, find_trajectories
    from pixelreasoner.core.terminal import TerminalConsole
    from pixelreasoner.viewer.html import save_html
    from pixelreasoner.viewer.terminal import print_trajectory, trajectory_table

    if lowest and highest:
        raise RecordError("--lowest and --highest exclude one another; give one of them")
    found = find_trajectories(source, RecordQuery(step, task, stop, lowest, highest, limit))
    if not found:
        asked = step is not None or task or stop
        raise RecordError(f"{source} holds no {'such ' if asked else ''}trajectories")
    console = TerminalConsole()
    if html is not None:
        save_html(found, html, title=f"{source.stem.replace('_', ' ')}: {len(found)} trajectories")
        console.print(f"{html}: {len(found)} trajectories", markup=False, highlight=False)
    elif table:
        console.print(trajectory_table(found, width=console.width))
    else:
        for trajectory in found:
            print_trajectory(console, trajectory)
