"""`pixelreasoner show`: look at recorded trajectories."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pixelreasoner.cli.options import option

if TYPE_CHECKING:
    from rich.console import Console

    from pixelreasoner.core.record_query import RecordQuery
    from pixelreasoner.core.trajectory import Trajectory

Metric = Annotated[str | None, option("METRIC")]
PRINTED = 20
"""Trajectories that are printed when no limit is given; a page gets all."""


def show(
    sources: Annotated[tyro.conf.Positional[tuple[Path, ...]], option("FILE.jsonl|RUN [FILE.jsonl|RUN ...]")],
    *,
    html: Annotated[Path | None, option("FILE")] = None,
    table: Annotated[bool, option()] = False,
    step: Annotated[int | None, option("N")] = None,
    lowest: Metric = None,
    highest: Metric = None,
    stop: Annotated[str | None, option("REASON")] = None,
    task: Annotated[str | None, option("ID")] = None,
    template: Annotated[str | None, option("NAME")] = None,
    verdict: Annotated[str | None, option("VERDICT")] = None,
    limit: Annotated[int | None, option("N")] = None,
) -> None:
    """Print trajectories, or write a page of them; two runs side by side.

    Args:
        sources: Trajectories of a synthesis or an evaluation, or the folder of a run: of RL, its rollouts.
            Several of them, of the same tasks, go to one page.
        html: Write a page instead of printing; its pictures and data go to a folder beside it.
        table: A line for each instead of its text.
        step: Only rollouts of this step of RL; -1 is the last one.
        lowest: Those with the lowest values first: reward, advantage, a reward term, operations, turns, ...
        highest: Those with the highest values first.
        stop: Only those that ended so: answer, turn_limit, token_limit, image_limit.
        task: Only rollouts of this task.
        template: Only those that synthesis wrote after this template: text_only, single_pass, recrop_once,
            recrop_twice, further_zoom, reselect.
        verdict: Of the folder of a synthesis. kept: what is in the set, as when left out. rejected: what was
            turned down and had come as far as a trajectory. A stage, a reason or stage.reason: only that.
            all: both.
        limit: How many of each source; 20 are printed when left out, and a page gets all.
    """
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.record_query import RecordQuery
    from pixelreasoner.core.terminal import TerminalConsole
    from pixelreasoner.viewer.terminal import print_trajectory, trajectory_table

    if not sources:
        raise RecordError(
            "name a file of trajectories, or the folder of a run; `pixelreasoner runs` lists them"
        )
    if lowest and highest:
        raise RecordError("--lowest and --highest exclude one another; give one of them")
    if limit is None and html is None:
        limit = PRINTED
    query = RecordQuery(step, task, stop, template, verdict, lowest, highest, limit)
    console = TerminalConsole()
    if html is not None:
        _write_page(console, html, sources, query)
        say_done({"Page": html})
        return
    source, *others = sources
    if others:
        raise RecordError("several runs go to one page: add --html FILE, or name one of them")
    if table:
        console.print(trajectory_table(list(_found(source, query)), width=console.width))
    else:
        for trajectory in _found(source, query):
            print_trajectory(console, trajectory)
    if console.is_terminal:
        given = {"--step": step, "--lowest": lowest, "--highest": highest, "--stop": stop, "--task": task}
        given |= {"--template": template, "--verdict": verdict}
        chosen = [word for name, value in given.items() if value is not None for word in (name, str(value))]
        command = ["show", str(source), *chosen, "--limit", str(limit), "--html", "trajectories.html"]
        say_done({}, {"As a page": shlex.join(command)})


def _found(source: Path, query: RecordQuery) -> Iterator[Trajectory]:
    """The trajectories asked for; there is at least one.

    Raises:
        RecordError: there is none.
    """
    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.record_query import find_trajectories

    found = find_trajectories(source, query)
    first = list(islice(found, 1))
    if not first:
        if query.template and (there := _templates(source, query)):
            raise RecordError(
                f"{source} holds no such trajectories of the template {query.template!r}; there are: {there}"
            )
        asked = query.step is not None or query.task or query.stop or query.template or query.verdict
        raise RecordError(f"{source} holds no {'such ' if asked else ''}trajectories")
    return chain(first, found)


def _templates(source: Path, query: RecordQuery) -> str:
    """Which templates the trajectories have that a query finds but for its template."""
    from pixelreasoner.core.record_query import find_trajectories
    from pixelreasoner.viewer.roles import template_of

    found = find_trajectories(source, replace(query, template=None, limit=None))
    counts = Counter(map(template_of, found))
    return ", ".join(f"{template} ({n})" for template, n in counts.most_common() if template)


def _write_page(console: Console, html: Path, sources: Sequence[Path], query: RecordQuery) -> None:
    """One trajectory becomes one self-contained file, several a page with a folder beside it."""
    from pixelreasoner.viewer.gallery import Attempts, write_gallery
    from pixelreasoner.viewer.html import save_html

    names = names_of(sources)
    found = [_found(source, query) for source in sources]
    start = list(islice(found[0], 2))
    if len(sources) == 1 and len(start) == 1:
        save_html(start[0], html, title=start[0].task.question)
        console.print(f"{html}: 1 trajectory", highlight=False, soft_wrap=True)
        return
    found[0] = chain(start, found[0])
    n = write_gallery(
        html,
        [Attempts(name, each) for name, each in zip(names, found, strict=True)],
        title=" and ".join(names),
    )
    console.print(
        f"{html}: {n} tasks; it needs the folder {html.stem}_files beside it", highlight=False, soft_wrap=True
    )


def names_of(sources: Sequence[Path]) -> list[str]:
    """What tells the sources apart: their last names, longer where two are the same."""
    paths = [
        source.absolute().with_suffix("") if source.is_file() else source.absolute() for source in sources
    ]
    paths = [path.parent if path.name == "trajectories" else path for path in paths]
    if len({path.name for path in paths}) == len(paths):
        return [path.name for path in paths]
    shared = Path(os.path.commonpath([path.parent for path in paths]))
    return [str(path.relative_to(shared)) for path in paths]
