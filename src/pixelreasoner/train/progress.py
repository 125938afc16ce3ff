"""What a training run shows and keeps while it runs: a progress line, its metrics, a gentle Ctrl-C.

Example::

    with Interruptible() as interrupt, RunLog(folder, total=steps, label="rl", resume_at=done) as log:
        for step in range(done + 1, steps + 1):
            log.step(step, update(...))
            if interrupt.requested:
                break
        save(...)
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType, TracebackType

from rich.console import Console

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import Terminated
from pixelreasoner.core.progress_line import ProgressLine
from pixelreasoner.core.terminal import TerminalConsole
from pixelreasoner.learn.processes import ONE_PROCESS, Processes
from pixelreasoner.train.trackers import TrackedRun, Tracker, open_trackers


class RunLog:
    """One progress bar for one run, and the trackers of its metrics.

    Steps are counted from 1: `resume_at` is the number of steps done before, and the next one is
    `resume_at + 1`. Each step goes to every tracker (`train.trackers`), metrics.jsonl first. On a terminal
    there is one live bar; elsewhere (a log file, CI) a line every `every_s` seconds. Both go to stderr.
    """

    def __init__(
        self,
        folder: Path,
        total: int,
        label: str,
        *,
        resume_at: int = 0,
        show: Sequence[str] = ("loss", "reward", "accuracy", "rapr"),
        trackers: Sequence[str] = (),
        config: Config | None = None,
        console: Console | None = None,
        every_s: float = 10.0,
        processes: Processes = ONE_PROCESS,
    ) -> None:
        """A log for `folder`; nothing happens until it is entered.

        Args:
            folder: where metrics.jsonl goes; made when missing.
            total: the number of steps of the whole run, those done before included.
            label: what the bar is called.
            resume_at: steps done before; lines of later steps (of a run that died unsaved) are dropped.
            show: the metrics to show live, where a step has them.
            trackers: names of trackers besides metrics.jsonl.
            config: the run's, for the trackers that show it.
            console: where to draw; stderr when None.
            every_s: seconds between two lines where there is no terminal.
            processes: the run's. The main one shows and writes; all of them enter, leave, and call `step`.
        """
        self._processes = processes
        values = {} if config is None else config.model_dump(mode="json")
        self._run, self._names = TrackedRun(folder, label, resume_at, values), tuple(trackers)
        self._line = ProgressLine(label, total, done=resume_at, console=console, every_s=every_s)
        self._show = tuple(show)
        self._trackers: list[Tracker] = []

    def __enter__(self) -> RunLog:
        self._processes.on_main(self._open)
        return self

    def _open(self) -> None:
        self._trackers = open_trackers(self._names, self._run)
        self._line.__enter__()

    def __exit__(self, *exc: object) -> None:
        with ExitStack() as stack:
            for tracker in self._trackers:
                stack.callback(tracker.close)  # all of them, also when one fails
            if self._processes.is_main:
                self._line.__exit__(*exc)

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record one finished step."""
        self._processes.on_main(lambda: self._record(step, metrics))

    def _record(self, step: int, metrics: Mapping[str, float]) -> None:
        assert self._trackers, "use the log as a context manager"
        assert step == self._line.done + 1, f"step {step} after step {self._line.done}"
        for tracker in self._trackers:
            tracker.log(step, metrics)
        shown = [name for name in self._show if name in metrics]
        self._line.update(step, {name: f"{metrics[name]:.3g}" for name in shown})

    def note(self, text: str) -> None:
        """Print something above the bar (an alarm, a checkpoint) without tearing it."""
        if self._processes.is_main:
            self._line.note(text)


class Interruptible:
    """Turns the first Ctrl-C or SIGTERM into a request to stop after the current step; the second one aborts.

    The loop asks `requested` after each step, saves and leaves the block; leaving it raises
    KeyboardInterrupt (`Terminated` after SIGTERM), so that whatever called the run stops too instead of going
    on to its next stage. Of several processes, all stop after the same step when one has a signal: they ask
    `requested_by_any`. Use it in the main thread: Python delivers signals nowhere else.
    """

    def __init__(self, console: Console | None = None, *, processes: Processes = ONE_PROCESS) -> None:
        self._interrupt: type[KeyboardInterrupt] | None = None
        self._signalled = False
        self._console = console or TerminalConsole(stderr=True, quiet=not processes.is_main)
        self._processes = processes

    @property
    def requested(self) -> bool:
        """Whether this process is to stop."""
        return self._interrupt is not None

    def requested_by_any(self) -> bool:
        """Whether all processes are to stop; they ask together, at the end of a step."""
        interrupts = [found for found in self._processes.gather(self._interrupt) if found is not None]
        if interrupts and self._interrupt is None:
            self._interrupt = interrupts[0]
        return bool(interrupts)

    def __enter__(self) -> Interruptible:
        self._before = {n: signal.signal(n, self._on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._interrupt is not None and error is None:
            raise self._interrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        interrupt = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if self._signalled:
            raise interrupt
        # torchrun passes a signal on to all; the others may have told this process of it already.
        self._signalled, self._interrupt = True, interrupt
        self._console.print("\nFinishing this step and saving. Ctrl-C again stops at once.", style="yellow")
