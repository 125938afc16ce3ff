"""The progress of an evaluation: a bar with the accuracy so far, its 95 % interval, and RaPR."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from pixelreasoner.core.intervals import wilson_interval
from pixelreasoner.core.progress_line import ProgressLine
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.evals.metrics import Score, score


class EvalProgress:
    """A bar with accuracy (95 % Wilson interval) and RaPR so far; collects the scores of what passes."""

    def __init__(self, console: Console, *, total: int, scores: list[Score]) -> None:
        self._scores = scores
        # Sums: to add all of them up again for every rollout would take longer than to make them.
        self._right = sum(s.score for s in scores)
        self._with_operation = sum(s.used_pixel_space for s in scores)
        self._line = ProgressLine("eval", total, done=len(scores), console=console)

    def __enter__(self) -> EvalProgress:
        self._line.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._line.__exit__(*exc)

    def watch(self, trajectories: Iterator[Trajectory]) -> Iterator[Trajectory]:
        """The same trajectories; each is scored once its consumer has come back for the next."""
        for trajectory in trajectories:
            yield trajectory
            self._scores.append(made := score(trajectory))
            self._right += made.score
            self._with_operation += made.used_pixel_space
            n = len(self._scores)
            right, low, high = (f"{x:.3f}" for x in (self._right / n, *wilson_interval(self._right / n, n)))
            used = f"{self._with_operation / n:.3f}"
            self._line.update(n, {"accuracy": f"{right} ({low} to {high})", "rapr": used})
