"""The line of an evaluation in progress."""

from __future__ import annotations

import io

from rich.console import Console

from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import SCORE_METRIC, StopReason, Trajectory, Turn
from pixelreasoner.evals.progress import EvalProgress
from pixelreasoner.evals.scores import Score


def made(name: str, value: float) -> Trajectory:
    task = Task(name, "?", (), ("A",))
    return Trajectory(task, (Turn("A"),), StopReason.ANSWER, answer="A", metrics={SCORE_METRIC: value})


def test_it_shows_the_accuracy_with_its_interval_and_keeps_the_scores():
    shown = io.StringIO()
    scores: list[Score] = []
    with EvalProgress(Console(file=shown, width=160), total=2, scores=scores) as progress:
        list(progress.watch(iter([made("a", 1.0), made("b", 0.0)])))
    assert [s.score for s in scores] == [1.0, 0.0]
    # Wilson's interval of one of two: (0.5 + 1.92 / 2 -+ 1.96 sqrt(0.125 + 3.84 / 16)) / (1 + 3.84 / 2).
    assert "accuracy 0.500 (0.095 to 0.905)" in shown.getvalue()
    assert "rapr 0.000" in shown.getvalue()
