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
    from pixelreasoner.rewards.scorers import Scorer
    from pixelreasoner.tasks.check import TaskCheck
    from pixelreasoner.tasks.preview import Part

ENDLESS_LIMIT = 20
"""Tasks looked at where the source has no end and no limit is given."""
SHOWN_PROBLEMS = 20
MANY = 100
"""Tasks from which on there is a progress line."""


def tasks(
    source: Annotated[tyro.conf.Positional[str], option("FILE|FOLDER|SOURCE|BENCHMARK|RECIPE")],
    *,
    split: Annotated[str | None, option("NAME")] = None,
    path: Annotated[str | None, option("DIR|NAME")] = None,
    limit: Annotated[int | None, option("N")] = None,
    scorer: Annotated[str, option("NAME")] = "exact",
    show: Annotated[int, option("N")] = 2,
    html: Annotated[Path | None, option("FILE")] = None,
    convert: Annotated[Path | None, option("FILE")] = None,
) -> None:
    """Check every task of a source, count them, and show some.

    Each row is read, its media are decoded, and its own answers are scored: one that does not score 1 could
    never be rewarded. Exit code 2 when something is wrong with a task. Rows that a data set leaves out are
    counted with their reasons, and are no error.

    Args:
        source: A task file, the folder of a data set, a registered source or benchmark,
            package.module:function, or a recipe: then all of its parts.
        split: Only this split of a file; the split of another source, in place of its default.
        path: Where a registered data set lies: a folder, a file, or its name on the hub.
        limit: Look at so many tasks of each part, from the start.
        scorer: Judges the answers of tasks that name no scorer themselves.
        show: How many tasks to show.
        html: Write them to a page with their pictures instead of printing them.
        convert: Write the tasks nothing is wrong with to a .jsonl or .parquet file.
    """
    from itertools import chain

    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.core.errors import RecordError
    from pixelreasoner.core.terminal import TerminalConsole, visible
    from pixelreasoner.rewards.scorers import ScoringConfig, build_scorer
    from pixelreasoner.tasks.files import write_task_file
    from pixelreasoner.viewer.gallery import Attempts, write_gallery

    judge = build_scorer(ScoringConfig(default=scorer))
    looks = [_Look(part, judge, limit, show) for part in _parts(source, split, path)]
    passing = chain.from_iterable(look.usable() for look in looks)
    if convert is None:
        for _ in passing:
            pass
    else:
        write_task_file(convert, passing)
    console = TerminalConsole()
    if html is not None and any(look.shown for look in looks):
        write_gallery(
            html, [Attempts("tasks", map(_as_trajectory, chain(*(k.shown for k in looks))))], title=source
        )
    problems = [problem for look in looks for problem in look.check.problems]
    for look in looks:
        look.print(console, heading=len(looks) > 1, tasks=html is None)
    if problems:
        for problem in problems[:SHOWN_PROBLEMS]:
            console.print(visible(problem), markup=False, highlight=False, style="red", soft_wrap=True)
        more = len(problems) - SHOWN_PROBLEMS
        unusable, n = sum(look.check.unusable for look in looks), sum(look.n for look in looks)
        raise RecordError(
            f"{source}: {unusable} of {n} tasks cannot be used as they are"
            f"{f' ({more} more messages not shown)' if more > 0 else ''}"
        )
    made = {"Page": html, "Tasks": convert}
    then = {}
    if html is None and console.is_terminal:
        given = {"--split": split, "--path": path}
        words = [word for name, value in given.items() if value is not None for word in (name, value)]
        then = {"As a page": shlex.join(["tasks", source, *words, "--show", "20", "--html", "tasks.html"])}
    say_done({what: path for what, path in made.items() if path is not None}, then)


def _parts(name: str, split: str | None, path: str | None) -> list[Part]:
    """What a name stands for: a benchmark by its options `split` and `path`, or what `open_parts` says."""
    from pixelreasoner.evals.benchmark import named_benchmark
    from pixelreasoner.tasks.preview import Part, open_parts

    if (tasks := named_benchmark(name, split=split, path=path)) is not None:
        return [Part(name, tasks)]
    return open_parts(name, split=split, path=path)


class _Look:
    """One source, as it is looked through."""

    def __init__(self, part: Part, scorer: Scorer, limit: int | None, show: int) -> None:
        from pixelreasoner.tasks.check import TaskCheck

        size = part.source.size
        self.name, self._source, self._show = part.name, part.source, show
        n = size if size is not None else ENDLESS_LIMIT if limit is None else limit
        self.n = n if limit is None else min(n, limit)
        self.check = TaskCheck(part.source, scorer)
        self.shown: list[Task] = []
        """The first of the usable tasks."""

    def usable(self) -> Iterator[Task]:
        """The tasks that nothing is wrong with."""
        from pixelreasoner.core.progress_line import tracked

        positions = range(self.n)
        for task in self.check.usable(
            tracked(positions, "tasks", total=self.n) if self.n > MANY else positions
        ):
            if len(self.shown) < self._show:
                self.shown.append(task)
            yield task

    def print(self, console: Console, *, heading: bool, tasks: bool) -> None:
        """Print the tasks to be shown, what was counted, and what was left out."""
        from pixelreasoner.core.display import counted
        from pixelreasoner.core.terminal import visible
        from pixelreasoner.tasks.datasets.report import Reported

        if heading:
            console.rule(visible(self.name), align="left")
        if tasks:
            _print(console, self.shown)
        console.print(_table(self.check))
        if any(counts.smallest is not None for counts in self.check.kinds.values()):
            console.print(_sizes(self.check))
        for note in filter(None, (self.check.unanswered_note, self.check.seeds_note)):
            console.print(note, markup=False, highlight=False, style="yellow", soft_wrap=True)
        if isinstance(self._source, Reported):
            report = self._source.report
            forms = ", ".join(f"{form} {n}" for form, n in report.forms.most_common())
            answers = f"; answers: {forms}" if forms else ""
            rows = counted(report.rows, report.noun)
            lines = [f"{rows}, {report.unusable} left out{answers}", *report.lines()]
            for line in lines:
                console.print(visible(line), markup=False, highlight=False, soft_wrap=True)


def _print(console: Console, shown: list[Task]) -> None:
    from rich.text import Text

    from pixelreasoner.core.display import counted
    from pixelreasoner.core.terminal import visible_line
    from pixelreasoner.viewer.terminal import print_task

    for task in shown:
        print_task(console, task)
        if task.is_seed:
            regions = len(task.cue.boxes) if task.cue is not None else 0
            about = f"Seed, {counted(regions, 'candidate region')}" if regions else "Seed"
        else:
            about = f"Answer {visible_line(' or '.join(task.answers) or 'unknown')}"
        line = f"{about}   {visible_line(task.id)}"
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

    heads = ("kind", "tasks", "needs op.", "cue", "images", "videos", "no answer", "answers")
    table = Table(*heads, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for kind, c in check.kinds.items():
        common = ", ".join(f"{answer} ({count})" for answer, count in c.answers.most_common(3))
        numbers = (c.tasks, c.needing, c.cues, c.images, c.videos, c.unanswered)
        table.add_row(*(Text(visible_line(cell)) for cell in (kind, *map(str, numbers), common)))
    return table


def _sizes(check: TaskCheck) -> Table:
    """How large the media are: what pixel budgets and memory are set by."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from pixelreasoner.core.terminal import visible_line

    heads = ("kind", "smallest", "largest", "mean Mpx", "most frames")
    table = Table(*heads, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for kind, c in check.kinds.items():
        if c.smallest is None or c.largest is None:
            continue
        sizes = (f"{size.width}x{size.height}" for size in (c.smallest, c.largest))
        mean = c.pixels / (c.images + c.videos) / 1e6
        cells = (kind, *sizes, f"{mean:.2f}", str(c.most_frames) if c.videos else "")
        table.add_row(*(Text(visible_line(cell)) for cell in cells))
    return table
