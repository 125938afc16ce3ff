"""`pixelreasoner tasks`: look through the tasks of a file or another source."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pixelreasoner.cli.options import option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.table import Table

    from pixelreasoner.core.task import Task
    from pixelreasoner.core.trajectory import Trajectory
    from pixelreasoner.tasks.check import TaskCheck
    from pixelreasoner.tasks.source import TaskSource

ENDLESS_LIMIT = 20
"""Tasks looked at where the source has no end and no limit is given."""
SHOWN_PROBLEMS = 20


def tasks(
    source: Annotated[tyro.conf.Positional[str], option("FILE|SOURCE")],
    *,
    split: Annotated[str | None, option("NAME")] = None,
    limit: Annotated[int | None, option("N")] = None,
    scorer: Annotated[str, option("NAME")] = "exact",
    show: Annotated[int, option("N")] = 2,
    html: Annotated[Path | None, option("FILE")] = None,
    convert: Annotated[Path | None, option("FILE")] = None,
) -> None:
    """Check every task of a source, count them, and show some.

    Each row is read, its media are decoded, and its own answers are scored: one that does not score 1 could
    never be rewarded. Exit code 2 when something is wrong with a task.

    Args:
        source: A .jsonl or .parquet file, a registered source, or package.module:function.
        split: Only this split of a file; the split of another source, "train" by default.
        limit: Look at so many tasks, from the start.
        scorer: Judges the answers of tasks that name no scorer themselves.
        show: How many tasks to show.
        html: Write them to a page with their pictures instead of printing them.
        convert: Write the tasks nothing is wrong with to a .jsonl or .parquet file.
    """
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.terminal import TerminalConsole, visible
    from pixelreasoner.rewards.scorers import ScoringConfig, build_scorer
    from pixelreasoner.tasks.check import TaskCheck
    from pixelreasoner.tasks.files import write_task_file
    from pixelreasoner.viewer.gallery import Attempts, write_gallery

    found = _open(source, split)
    n = found.size if found.size is not None else ENDLESS_LIMIT if limit is None else limit
    n = n if limit is None else min(n, limit)
    check = TaskCheck(found, build_scorer(ScoringConfig(default=scorer)))
    shown: list[Task] = []
    passing = _keep_first(check, n, show, shown)
    if convert is None:
        for _ in passing:
            pass
    else:
        write_task_file(convert, passing)
    console = TerminalConsole()
    if html is None:
        _print(console, shown)
    elif shown:
        write_gallery(html, [Attempts("tasks", map(_as_trajectory, shown))], title=source)
    console.print(_table(check))
    if (note := check.unanswered_note) is not None:
        console.print(note, markup=False, highlight=False, style="yellow", soft_wrap=True)
    if check.problems:
        for problem in check.problems[:SHOWN_PROBLEMS]:
            console.print(visible(problem), markup=False, highlight=False, style="red", soft_wrap=True)
        more = len(check.problems) - SHOWN_PROBLEMS
        raise RecordError(
            f"{source}: {check.unusable} of {n} tasks cannot be used as they are"
            f"{f' ({more} more messages not shown)' if more > 0 else ''}"
        )
    made = {"Page": html, "Tasks": convert}
    then = {}
    if html is None and console.is_terminal:
        part = [] if split is None else ["--split", split]
        then = {"As a page": shlex.join(["tasks", source, *part, "--show", "20", "--html", "tasks.html"])}
    say_done({what: path for what, path in made.items() if path is not None}, then)


def _open(source: str, split: str | None) -> TaskSource:
    from pixelreasoner.tasks.config import TasksConfig, build_tasks
    from pixelreasoner.tasks.files import SUFFIXES, open_task_file

    if source.endswith(SUFFIXES):
        # A row that cannot be read is reported among the others.
        return open_task_file(source, split=split, tolerant=True)
    return build_tasks(TasksConfig(source=source, split=split or "train"))


def _keep_first(check: TaskCheck, n: int, count: int, kept: list[Task]) -> Iterator[Task]:
    """Passes the usable tasks on, and keeps the first `count` in `kept`."""
    for task in check.usable(n):
        if len(kept) < count:
            kept.append(task)
        yield task


def _print(console: Console, shown: list[Task]) -> None:
    from rich.text import Text

    from pixelreasoner.core.terminal import visible_line
    from pixelreasoner.viewer.terminal import print_task

    for task in shown:
        print_task(console, task)
        answers = " or ".join(task.answers) or "unknown"
        line = f"Answer {visible_line(answers)}   {visible_line(task.id)}"
        console.print(Text(line, style="cyan"), highlight=False)
        console.print()


def _as_trajectory(task: Task) -> Trajectory:
    """A task as a page shows one: no turns, and its reference for an answer."""
    from pixelreasoner.core.trajectory import StopReason, Trajectory

    answer = task.answers[0] if task.answers else None
    return Trajectory(task, (), StopReason.ANSWER, answer, source="reference")


def _table(check: TaskCheck) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from pixelreasoner.core.terminal import visible_line

    table = Table(
        "kind", "tasks", "needs op.", "cue", "images", "videos", "no answer", "answers", box=SIMPLE_HEAD
    )
    for kind, c in check.kinds.items():
        common = ", ".join(f"{answer} ({count})" for answer, count in c.answers.most_common(3))
        numbers = (c.tasks, c.needing, c.cues, c.images, c.videos, c.unanswered)
        table.add_row(*(Text(visible_line(cell)) for cell in (kind, *map(str, numbers), common)))
    return table
