"""The progress of an evaluation: a bar with the accuracy and RaPR so far."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.evals.metrics import Score, score


class EvalProgress:
    """A bar with the accuracy and RaPR so far; collects the scores of what passes."""

    def __init__(self, console: Console, *, total: int, scores: list[Score]) -> None:
        self._scores = scores
        self._bar = Progress(
            TextColumn("eval"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}"), console=console,
        )  # fmt: skip
        self._task = self._bar.add_task("eval", total=total, completed=len(scores), shown="")

    def __enter__(self) -> EvalProgress:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def watch(self, trajectories: Iterator[Trajectory]) -> Iterator[Trajectory]:
        """The same trajectories; each is scored once its consumer has come back for the next."""
        for trajectory in trajectories:
            yield trajectory
            self._scores.append(score(trajectory))
            n = len(self._scores)
            right = sum(s.score for s in self._scores) / n
            with_operation = sum(s.used_pixel_space for s in self._scores) / n
            shown = f"accuracy {right:.3f}  rapr {with_operation:.3f}"
            self._bar.update(self._task, completed=n, shown=shown)
