"""`pixelreasoner show`: look at recorded trajectories."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import tyro

from pixelreasoner.cli.options import option

Metric = Annotated[str | None, option("METRIC")]


def show(
    source: Annotated[tyro.conf.Positional[Path], option("FILE.jsonl|RUN")],
    *,
    html: Annotated[Path | None, option("FILE")] = None,
    table: Annotated[bool, option()] = False,
    step: Annotated[int | None, option("N")] = None,
    lowest: Metric = None,
    highest: Metric = None,
    stop: Annotated[str | None, option("REASON")] = None,
    task: Annotated[str | None, option("ID")] = None,
    limit: Annotated[int, option("N")] = 20,
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
    from pixelreasoner.cli.ending import say_done
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
        console.print(f"{len(found)} trajectories", highlight=False)
        say_done({"Page": html})
        return
    if table:
        console.print(trajectory_table(found, width=console.width))
    else:
        for trajectory in found:
            print_trajectory(console, trajectory)
    if console.is_terminal:
        given = {"--step": step, "--lowest": lowest, "--highest": highest, "--stop": stop, "--task": task}
        chosen = [word for name, value in given.items() if value is not None for word in (name, str(value))]
        command = ["show", str(source), *chosen, "--limit", str(limit), "--html", "trajectories.html"]
        say_done({}, {"As a page": shlex.join(command)})
