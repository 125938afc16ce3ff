"""Runs of two processes against runs of one: rollouts, losses and files; each resumes as the other."""

from __future__ import annotations

import json
import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelreasoner.core.errors import CheckpointError, ConfigError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.records import read_trajectories, write_trajectories
from pixelreasoner.core.run_folder import RunFolder
from pixelreasoner.core.run_status import state_of
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.processes import Processes
from pixelreasoner.train import rl, sft
from pixelreasoner.train.rl import RLTrainer
from pixelreasoner.train.sft import SFTConfig, SFTTrainer
from processes_helpers import in_processes
from rl_helpers import config, first_token_rewards, rows_of, weights

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def numbers(folder: Path) -> list[dict[str, float]]:
    """The metrics of each step but for times."""
    return [
        {k: v for k, v in row.items() if k != "time" and not k.startswith("seconds")}
        for row in rows_of(folder)
    ]


def assert_same_metrics(found: list[dict[str, float]], wanted: list[dict[str, float]]) -> None:
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert a.keys() == b.keys()
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def meeting(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.fixture
def tuning(checkpoint, tmp_path):
    """Five short trajectories, two with a picture, and a tower that is tuned too."""

    def noise(seed: int) -> tuple[Picture, ...]:
        return (Picture(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)),)

    texts = ("It reads K.", "The red card", "Three.", "K", "On the card")
    data = [
        Trajectory(
            Task(f"t{i}", "Which letter?", noise(i) if i < 2 else (), ()), (Turn(text),), StopReason.ANSWER
        )
        for i, text in enumerate(texts)
    ]
    write_trajectories(tmp_path / "data.jsonl", data)
    settings = {
        "data": tmp_path / "data.jsonl", "batch_size": 2, "optim": {"lr": 1e-3, "warmup": 0, "final": 1},
        "model": {
            "checkpoint": str(checkpoint), "device": "cpu", "precision": "fp32", "train": {"vision": True}
        },
    }  # fmt: skip
    return lambda name, **changes: SFTConfig.model_validate(settings | {"out": tmp_path / name, **changes})


@pytest.mark.parametrize(("before", "after"), [(2, 1), pytest.param(1, 2, marks=pytest.mark.slow)])
def test_tuning_goes_on_with_another_number_of_processes(tuning, tmp_path, before, after):
    """The same batches in the same order: each step's loss is that of the run of one process."""
    sft.run(tuning("whole", steps=5))

    def part(n: int, steps: int, *, resume: bool) -> None:
        run = tuning("parts", steps=steps)
        if n == 1:
            sft.run(run, resume=resume)
        else:
            in_processes(n, meeting(tmp_path / "meeting"), lambda _: str(sft.run(run, resume=resume)))

    part(before, 3, resume=False)
    part(after, 5, resume=True)
    assert_same_metrics(numbers(tmp_path / "parts"), numbers(tmp_path / "whole"))
    a, b = weights(tmp_path / "parts"), weights(tmp_path / "whole")
    for name, tensor in b.items():
        torch.testing.assert_close(a[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    assert state_of(tmp_path / "parts") == "finished"


def test_rollouts_and_learning_do_not_depend_on_the_number_of_processes(tmp_path, checkpoint, monkeypatch):
    """Three tasks for two processes; with an evaluation, replay, and a tower that learns."""
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    settings = {"steps": 2, "eval_every": 2, "eval": {"n": 3}, "train": {"vision": True}}
    one, two = (config(tmp_path / name, checkpoint, **settings) for name in ("one", "two"))
    rl.run(one)
    in_processes(2, meeting(tmp_path / "meeting"), lambda _: str(rl.run(two)))
    assert_same_metrics(numbers(two.out), numbers(one.out))
    a, b = ([*read_trajectories(run.out / "rollouts" / "step-000001.jsonl")] for run in (one, two))
    assert [y.task.id for y in a] == [y.task.id for y in b]
    assert [[t.sampled.ids for t in y.turns] for y in a] == [[t.sampled.ids for t in y.turns] for y in b]
    assert len({y.turns[0].sampled.ids for y in a}) > 1
    files = [sorted(str(p.relative_to(run.out)) for p in run.out.rglob("*.jsonl")) for run in (one, two)]
    assert files[0] == files[1]


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_rl_goes_on_with_another_number_of_processes(tmp_path, checkpoint, monkeypatch, before, after):
    """With what the replay buffer held: the rewards, the replayed groups and the losses of each step."""
    monkeypatch.setattr(RLTrainer, "score", first_token_rewards)
    constant = OptimConfig(lr=1e-4, warmup=0, final=1)

    def part(n: int, name: str, steps: int, *, resume: bool = False) -> None:
        run = config(tmp_path / name, checkpoint, steps=steps, optim=constant)
        if n == 1:
            rl.run(run, resume=resume)
        else:
            in_processes(n, meeting(tmp_path / "meeting"), lambda _: str(rl.run(run, resume=resume)))

    part(1, "whole", 3)
    part(before, "parts", 2)
    part(after, "parts", 3, resume=True)
    assert_same_metrics(numbers(tmp_path / "parts"), numbers(tmp_path / "whole"))
    assert state_of(tmp_path / "parts") == "finished"


def test_a_signal_to_one_process_stops_all_after_the_same_step(tuning, tmp_path, monkeypatch):
    run = tuning("run", steps=9)
    real_step = SFTTrainer.train_step

    def signalled(self: SFTTrainer) -> dict[str, float]:
        if self.step == 1 and not self.processes.is_main:
            os.kill(os.getpid(), signal.SIGTERM)
        return real_step(self)

    monkeypatch.setattr(SFTTrainer, "train_step", signalled)

    def work(processes: Processes) -> str:
        with pytest.raises(KeyboardInterrupt) as e:
            sft.run(run)
        return type(e.value).__name__

    assert in_processes(2, meeting(tmp_path / "meeting"), work) == ["Terminated"] * 2
    assert [row["step"] for row in rows_of(run.out)] == [1, 2]
    assert state_of(run.out) == "stopped"
    assert RunFolder(run.out).state.exists()


def test_a_mistake_is_raised_by_all_and_names_the_thing_once(tuning, tmp_path):
    """What one process finds wrong ends all; a folder in use is seen by the main one alone."""
    run = tuning("run", steps=1, data=tmp_path / "none.jsonl")

    def work(processes: Processes) -> str:
        with pytest.raises(ValueError, match=r"none\.jsonl does not exist") as e:
            sft.run(run)
        return f"{type(e.value).__name__}: {e.value}"

    first, second = in_processes(2, meeting(tmp_path / "meeting"), work)
    assert first == second
    assert first.startswith("RecordError: ")
    assert not (run.out / "config.toml").exists(), "the folder is free"

    sft.run(tuning("done", steps=1))

    def again(processes: Processes) -> str:
        with pytest.raises(ConfigError) as e:
            sft.run(tuning("done", steps=1))
        return str(e.value)

    texts = in_processes(2, meeting(tmp_path / "other"), again)
    assert texts[0] == texts[1]
    assert "already holds a run" in texts[0]


@pytest.mark.slow
def test_the_table_of_a_states_shards_runs_no_code(tuning, tmp_path):
    """A pickle that names anything but torch's own records is refused in one sentence."""
    run = tuning("run", steps=2, save_every=1)
    in_processes(2, meeting(tmp_path / "meeting"), lambda _: str(sft.run(run)))
    (folder,) = run.out.glob("shards-*")
    (folder / ".metadata").write_bytes(pickle.dumps(os.getcwd))
    with pytest.raises(CheckpointError, match=r"names posix\.getcwd") as e:
        sft.run(tuning("run", steps=3), resume=True)
    assert "\n" not in str(e.value)
    assert json.loads((run.out / "run.json").read_text())["error"]
