"""The one progress bar of all commands: how far, how long still, and the figures there is room for.

What a narrow terminal has no room for is left out. The last to go are the steps, their total and the time
left; then the label, the time so far, the figures in their order, and first of all the bar. Where there is no
terminal (a log file, CI), lines are written instead, `every_s` seconds apart.

Example::

    with ProgressLine("rl", total=90, done=40) as line:
        for step in range(41, 91):
            line.update(step, {"reward": "0.63"})
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from rich.console import Console, Group
from rich.progress import Progress, ProgressColumn, Task
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pixelreasoner.core.terminal import TerminalConsole

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """A part of what is under way, with a bar of its own below the line."""

    label: str
    done: int
    """Steps of the line's total that are past this part."""
    text: str = ""
    """What else is to be said."""


MIN_BAR, MAX_BAR = 8, 24
"""Characters of the bar, where it is drawn."""


class ProgressLine:
    """Progress on a terminal or in a log, on stderr unless another console is given."""

    def __init__(
        self,
        label: str,
        total: int,
        *,
        done: int = 0,
        console: Console | None = None,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        rows: Callable[[], Sequence[Row]] = tuple,
    ) -> None:
        """A line that is drawn once it is entered.

        Args:
            label: what is under way.
            total: steps of all of it, those done before included.
            done: steps done before; the time left is reckoned from the others.
            console: where to draw; stderr when None.
            every_s: seconds between two lines where there is no terminal.
            clock: seconds, from any moment on.
            rows: the parts, asked for whenever the line is drawn.
        """
        self.rows = rows
        self.label, self.total, self.done = label, total, done
        self._start, self._every_s, self._clock = done, every_s, clock
        self._console = console or TerminalConsole(stderr=True)
        self._figures: dict[str, str] = {}
        self._began = self._stepped = self._said = clock()
        self._said_at = -1
        self._live: Progress | None = None

    def __enter__(self) -> ProgressLine:
        self._began = self._stepped = self._said = self._clock()
        if self._console.is_terminal:
            self._live = Progress(_Line(self, self._console), console=self._console)
            self._live.add_task(self.label)
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._said_at != self.done:
            self._say()

    def update(self, done: int, figures: Mapping[str, str] | None = None) -> None:
        """Show that so many steps are done, and figures by their names."""
        self.done, self._stepped = done, self._clock()
        self._figures = dict(figures or {})
        due = self._stepped - self._said >= self._every_s
        if self._live is None and (due or done in (self._start + 1, self.total)):
            self._say()

    def note(self, text: str) -> None:
        """Print a line above the bar without tearing it."""
        self._console.print(f"{self.label}: {text}", markup=False, highlight=False, soft_wrap=True)

    def fitted(self, width: int) -> tuple[str, int, str]:
        """What fits in `width` characters: the label, the length of the bar (0 for none), and the rest."""
        count = f"{self.done}/{self.total}"
        times = f"{count}  {clock_text(self._left())} left"
        if len(times) + len(self.label) + 1 > width:
            return "", 0, times if len(times) <= width else count
        elapsed = f"{count}  {clock_text(self._elapsed())}, {clock_text(self._left())} left"
        if len(elapsed) + len(self.label) + 1 > width:
            return self.label, 0, times
        figures = [f"  {name} {value}" for name, value in self._figures.items()]
        texts = list(accumulate([elapsed, *figures]))
        room = width - len(self.label) - 1
        shown = max((text for text in texts if len(text) <= room), key=len)
        bar = min(MAX_BAR, room - len(shown) - 1)
        return self.label, bar if bar >= MIN_BAR else 0, shown

    def fitted_row(self, row: Row, width: int, label_width: int) -> tuple[str, int, str]:
        """What fits of a row in `width` characters: its label, the length of its bar, and the rest."""
        label = f"  {row.label:{label_width}}"
        count = f"{row.done}/{self.total}"
        for rest in (f"{count}  {row.text}".rstrip(), count):
            room = width - len(label) - len(rest) - 2
            if room >= MIN_BAR:
                return label, min(MAX_BAR, room), rest
        text = f"{label} {count}"
        return text[:width], 0, ""

    def _elapsed(self) -> float:
        return self._clock() - self._began

    def _left(self) -> float:
        """Seconds; NaN until a step is done. It goes down between two steps."""
        done_here = self.done - self._start
        if self.done >= self.total:
            return 0.0
        if done_here <= 0:
            return math.nan
        seconds = (self._stepped - self._began) / done_here * (self.total - self.done)
        return max(0.0, seconds - (self._clock() - self._stepped))

    def _say(self) -> None:
        self._said, self._said_at = self._clock(), self.done
        figures = "".join(f"  {name} {value}" for name, value in self._figures.items())
        rows = "".join(
            f"  {row.label} {row.done}{f' ({row.text})' if row.text else ''}" for row in self.rows()
        )
        text = (
            f"{self.label} {self.done}/{self.total}  "
            f"{clock_text(self._elapsed())}, {clock_text(self._left())} left{figures}{rows}"
        )
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def tracked(
    items: Iterable[T], label: str, *, total: int, done: int = 0, console: Console | None = None
) -> Iterator[T]:
    """The same items, one step of a `ProgressLine` each; the step is done when the next one is asked for."""
    with ProgressLine(label, total, done=done, console=console) as line:
        for number, item in enumerate(items, start=done + 1):
            yield item
            line.update(number)


def loading(name: str, console: Console | None = None) -> AbstractContextManager[object]:
    """Say on a terminal that something is being loaded, for as long as it takes; a log file gets nothing."""
    return (console or TerminalConsole(stderr=True)).status(Text(f"loading {name}"))


class _Line(ProgressColumn):
    """All of the line as one column, so that it is fitted here and not squeezed by rich."""

    max_refresh = None

    def __init__(self, line: ProgressLine, console: Console) -> None:
        super().__init__()
        self._line, self._console = line, console

    def render(self, task: Task) -> Group | Table:
        """The line and its rows, as wide as the console at this moment."""
        rows = self._line.rows()
        return Group(self._first(), *self._rows(rows)) if rows else self._first()

    def _rows(self, rows: Sequence[Row]) -> Iterator[Table]:
        longest = max(len(row.label) for row in rows)
        for row in rows:
            label, bar, rest = self._line.fitted_row(row, self._console.width - 1, longest)
            grid = Table.grid(padding=(0, 1, 0, 0))
            cells = (
                [ProgressBar(total=max(1, self._line.total), completed=row.done, width=bar)] if bar else []
            )
            grid.add_row(Text(label, no_wrap=True), *cells, Text(rest, no_wrap=True))
            yield grid

    def _first(self) -> Table:
        label, bar, rest = self._line.fitted(self._console.width - 1)
        grid = Table.grid(padding=(0, 1, 0, 0))
        cells = [Text(label, no_wrap=True)] if label else []
        if bar:
            share = ProgressBar(total=max(1, self._line.total), completed=self._line.done, width=bar)
            grid.add_row(*cells, share, Text(rest, no_wrap=True))
        else:
            grid.add_row(*cells, Text(rest, no_wrap=True))
        return grid


def clock_text(seconds: float) -> str:
    """`3:07` or `1:02:03`; `?` for what is not known."""
    if not math.isfinite(seconds):
        return "?"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m:02}:{s:02}"
