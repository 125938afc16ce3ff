"""What a training run shows and keeps while it runs: a progress line, metrics.jsonl, a gentle Ctrl-C.

Example::

    with Interruptible() as interrupt, RunLog(folder, total=steps, label="rl", resume_at=done) as log:
        for step in range(done + 1, steps + 1):
            log.step(step, update(...))
            if interrupt.requested:
                break
        save(...)
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pixelreasoner.core.errors import RecordError

METRICS_FILE = "metrics.jsonl"


class RunLog:
    """One progress bar and one metrics file for one run.

    Steps are counted from 1: `resume_at` is the number of steps done before, and the next one is
    `resume_at + 1`. Each step becomes a line `{"step": 3, "time": <unix seconds>, <metrics>}`, written
    through at once, so that a killed run loses nothing. On a terminal there is one live bar; elsewhere
    (a log file, CI) a line every `every_s` seconds. Both go to stderr.
    """

    def __init__(
        self,
        folder: Path,
        total: int,
        label: str,
        *,
        resume_at: int = 0,
        show: Sequence[str] = ("loss", "reward", "accuracy", "rapr"),
        console: Console | None = None,
        every_s: float = 10.0,
    ) -> None:
        """A log for `folder`; nothing happens until it is entered.

        Args:
            folder: where metrics.jsonl goes; made when missing.
            total: the number of steps of the whole run, those done before included.
            label: what the bar is called.
            resume_at: steps done before; lines of later steps (of a run that died unsaved) are dropped.
            show: the metrics to show live, where a step has them.
            console: where to draw; stderr when None.
            every_s: seconds between two lines where there is no terminal.
        """
        self._path = folder / METRICS_FILE
        self._total, self._label, self._done, self._start = total, label, resume_at, resume_at
        self._show = tuple(show)
        self._console = console or Console(stderr=True)
        self._every_s = every_s
        self._file: IO[str] | None = None
        self._said_at_step = -1
        self._live = _live_bar(self._console) if self._console.is_terminal else None

    def __enter__(self) -> RunLog:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _drop_after(self._path, self._done)
        self._file = self._path.open("a", encoding="utf-8")
        self._began = self._said = time.monotonic()
        if self._live is not None:
            self._live.start()
            self._task = self._live.add_task(self._label, total=self._total, completed=self._done, shown="")
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._said_at_step != self._done:
            self._say("")
        assert self._file is not None
        self._file.close()

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record one finished step. Values that are not finite are kept as null."""
        assert self._file is not None, "use the log as a context manager"
        assert step == self._done + 1, f"step {step} after step {self._done}"
        self._done = step
        values = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        self._file.write(json.dumps({"step": step, "time": round(time.time(), 3), **values}) + "\n")
        self._file.flush()
        shown = "  ".join(f"{name} {metrics[name]:.3g}" for name in self._show if name in metrics)
        if self._live is not None:
            self._live.update(self._task, completed=step, shown=shown)
        elif step in (self._start + 1, self._total) or time.monotonic() - self._said >= self._every_s:
            self._say(shown)

    def note(self, text: str) -> None:
        """Say something above the bar (an alarm, a checkpoint) without tearing it."""
        self._console.print(f"{self._label}: {text}", markup=False, highlight=False)

    def _say(self, shown: str) -> None:
        self._said, self._said_at_step = time.monotonic(), self._done
        done_here, elapsed = self._done - self._start, self._said - self._began
        left = elapsed / done_here * (self._total - self._done) if done_here else math.nan
        text = f"{self._label} {self._done}/{self._total}  {_clock(elapsed)}<{_clock(left)}  {shown}"
        self._console.print(text.rstrip(), markup=False, highlight=False, soft_wrap=True)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The steps recorded in a run's folder, in order; a value that was not finite is None.

    Raises:
        RecordError: there is no metrics file, or it has a line that is not JSON.
    """
    path = folder / METRICS_FILE
    if not path.exists():
        raise RecordError(f"{path} does not exist: is {folder} the folder of a training run?")
    return [row for row, _ in _rows(path)]


def read_curves(folder: Path, names: Sequence[str]) -> dict[str, list[float]]:
    """Each named metric over the steps that have it; NaN where it was not finite."""
    rows = read_metrics(folder)
    number = lambda v: math.nan if v is None else float(v)  # noqa: E731
    return {name: [number(row[name]) for row in rows if name in row] for name in names}


class Interruptible:
    """Turns the first Ctrl-C into a request to stop after the current step; the second one aborts.

    The loop asks `requested` after each step, saves and leaves the block; leaving it raises
    KeyboardInterrupt, so that whatever called the run stops too instead of going on to its next stage.
    Use it in the main thread: Python delivers signals nowhere else.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.requested = False
        self._console = console or Console(stderr=True)

    def __enter__(self) -> Interruptible:
        self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
        if self.requested and error is None:
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._console.print("\nFinishing this step and saving. Ctrl-C again stops at once.", style="yellow")


def _live_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
        TimeElapsedColumn(), TextColumn("<"), TimeRemainingColumn(), TextColumn("{task.fields[shown]}"),
        console=console,
    )  # fmt: skip


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Each line of a metrics file, parsed and raw; a last line torn by a crash is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line), line
        except json.JSONDecodeError as e:
            if number == len(lines):
                return
            raise RecordError(
                f"{path}, line {number} is not JSON ({e.msg}); delete the line or the file"
            ) from e


def _drop_after(path: Path, step: int) -> None:
    """Keep the lines of steps 1 to `step` only."""
    if path.exists():
        kept = [line for row, line in _rows(path) if row["step"] <= step]
        path.write_text("".join(kept), encoding="utf-8")


def _clock(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m:02}:{s:02}"
