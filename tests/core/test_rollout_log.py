"""Rules of the rollout log: whole steps in order, a byte budget, no picture that nobody refers to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.rollout_log import RolloutLog, RolloutLogConfig, save_batch
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn

SHARED = Picture(np.full((4, 4, 3), 250, np.uint8))
"""A picture that every step shows."""


def noise(seed: int) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def rollouts(step: int) -> list[Trajectory]:
    """Two of a step: each with a crop of its own, both about a picture of the step and the shared one."""
    return [
        Trajectory(
            Task(f"t{step}", "Which?", (SHARED, noise(step)), ("K",)),
            (Turn("Look.", observation=Observation("Image 3:", (noise(100 * step + i),))), Turn("K")),
            StopReason.ANSWER,
            "K",
            metrics={"step": step, "reward": 0.5 * i},
        )
        for i in range(2)
    ]


def log_of(folder: Path, max_bytes: int = 10**9, *, resume_at: int = 0) -> RolloutLog:
    log = RolloutLog(folder, RolloutLogConfig(max_bytes=max_bytes))
    log.resume(resume_at)
    return log


def write(log: RolloutLog, steps: range) -> None:
    for step in steps:
        log.add(step, rollouts(step))
    log.flush()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def steps_in(folder: Path) -> list[int]:
    return [
        int(y.metrics["step"]) for path in sorted(folder.glob("*.jsonl")) for y in read_trajectories(path)
    ]


def referred(folder: Path) -> set[str]:
    """The digests that the records refer to, found by reading them."""
    found = set()
    for path in folder.glob("*.jsonl"):
        for y in read_trajectories(path):
            found |= {picture.digest for picture in y.task.media if isinstance(picture, Picture)}
            found |= {p.digest for t in y.turns if t.observation for p in t.observation.images}
    return found


def test_what_was_added_is_read_back(tmp_path):
    write(log_of(tmp_path), range(1, 4))
    assert list(read_trajectories(tmp_path / "step-000001.jsonl")) == [
        y for s in (1, 2, 3) for y in rollouts(s)
    ]


def test_a_file_begins_at_an_eighth_of_the_budget_and_a_step_is_never_split(tmp_path):
    """A step is about 10 kB: three pictures of 3 kB each and two lines."""
    write(log_of(tmp_path, max_bytes=160_000), range(1, 7))
    assert [p.name for p in sorted(tmp_path.glob("*.jsonl"))] == [
        "step-000001.jsonl", "step-000003.jsonl", "step-000005.jsonl",
    ]  # fmt: skip
    for path in tmp_path.glob("*.jsonl"):
        assert len(list(read_trajectories(path))) == 4


def test_the_oldest_go_first_and_their_pictures_with_them(tmp_path):
    budget = 60_000
    log = log_of(tmp_path, max_bytes=budget)
    for step in range(1, 15):
        log.add(step, rollouts(step))
        log.flush()
        on_disk = sum(len(content) for content in files(tmp_path).values())
        assert on_disk == log.n_bytes
        assert on_disk <= budget
    kept = steps_in(tmp_path)
    assert kept == [step for step in range(kept[0], 15) for _ in range(2)]
    assert len(set(kept)) >= 4, "the budget is used"
    assert {p.stem for p in (tmp_path / "media").iterdir()} == referred(tmp_path)
    assert SHARED.digest in referred(tmp_path), "a picture that is still in use stays"


def test_the_newest_file_stays_whatever_the_budget(tmp_path):
    write(log_of(tmp_path, max_bytes=1), range(1, 4))
    assert steps_in(tmp_path) == [3, 3]


@pytest.mark.parametrize("max_bytes", [10**9, 160_000, 60_000])
@pytest.mark.parametrize(("saved", "killed"), [(0, 2), (1, 3), (6, 9), (9, 9), (11, 12)])
def test_a_resumed_run_leaves_the_files_of_an_uninterrupted_one(tmp_path, max_bytes, saved, killed):
    """Killed after step `killed`, in the middle of the next, and resumed from the state of step `saved`."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    write(log_of(whole, max_bytes), range(1, 13))
    write(log_of(parts, max_bytes), range(1, killed + 1))
    last = max(parts.glob("*.jsonl"))
    with last.open("ab") as file:
        file.write(b'{"schema": "pixelreasoner.traj')
    (parts / "media" / f".{'0' * 32}.png.1234.part").write_bytes(b"half a picture")
    write(log_of(parts, max_bytes, resume_at=saved), range(saved + 1, 13))
    assert files(parts) == files(whole)


def test_resuming_from_the_start_leaves_nothing(tmp_path):
    write(log_of(tmp_path), range(1, 4))
    log_of(tmp_path, resume_at=0)
    assert files(tmp_path) == {}


def test_the_batch_that_ended_a_run_keeps_its_pictures(tmp_path):
    log = log_of(tmp_path, max_bytes=20_000)
    write(log, range(1, 4))
    path = save_batch(tmp_path, 4, rollouts(2))
    write(log, range(4, 10))
    log_of(tmp_path, 20_000, resume_at=3)
    assert path.name == "nonfinite-step-000004.jsonl"
    assert list(read_trajectories(path)) == rollouts(2)


def test_a_log_that_is_off_writes_nothing(tmp_path):
    log = RolloutLog(tmp_path / "rollouts", RolloutLogConfig(enabled=False))
    log.resume(0)
    write(log, range(1, 3))
    assert not (tmp_path / "rollouts").exists()


def test_a_line_that_is_no_record_of_a_step_is_named(tmp_path):
    write(log_of(tmp_path), range(1, 2))
    with (tmp_path / "step-000001.jsonl").open("a") as file:
        file.write(json.dumps({"mine": 1}) + "\n")
    with pytest.raises(RecordError, match=r"step-000001\.jsonl holds a line"):
        log_of(tmp_path, resume_at=1)


def test_a_picture_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "media").write_text("in the way")
    log = RolloutLog(tmp_path, RolloutLogConfig())
    log.add(1, rollouts(1))
    with pytest.raises(ValueError, match="media"):
        log.flush()
