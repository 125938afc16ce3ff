"""The time of each batch, by a clock that counts how often it is read."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory
from pixelreasoner.evals.seconds import host, timed

MADE = [Trajectory(Task(f"q{i}", "Q?", (), ()), (), StopReason.ANSWER) for i in range(6)]


def test_each_batch_has_its_time_and_passes_unchanged(tmp_path: Path):
    ticks = itertools.count()
    passed = timed(iter(MADE), tmp_path, first=0, batch_size=4, clock=lambda: float(next(ticks)))
    assert list(passed) == MADE
    seconds = json.loads((tmp_path / "seconds.json").read_text())
    # A second for each rollout, and one to find the end.
    assert seconds == {"0": {"rollouts": 4, "seconds": 4.0}, "4": {"rollouts": 2, "seconds": 3.0}}
    assert host(tmp_path)["seconds"] == {"total": 7.0, "rollouts": 6, "per_rollout": 7 / 6}


def test_a_batch_that_is_made_again_has_the_later_time(tmp_path: Path):
    list(timed(iter(MADE), tmp_path, first=0, batch_size=4, clock=lambda: 0.0))
    ticks = itertools.count()
    list(timed(iter(MADE[4:]), tmp_path, first=4, batch_size=4, clock=lambda: float(next(ticks))))
    assert host(tmp_path)["seconds"] == {"total": 3.0, "rollouts": 6, "per_rollout": 0.5}


def test_a_batch_that_was_cut_has_no_time(tmp_path: Path):
    passed = timed(iter(MADE), tmp_path, first=0, batch_size=4)
    assert [next(passed) for _ in range(3)] == MADE[:3]
    assert not (tmp_path / "seconds.json").exists()
    assert host(tmp_path)["seconds"] is None
