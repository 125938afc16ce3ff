"""metrics.jsonl always; other trackers by name; an instruction where a package is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pixelreasoner.core.errors import ConfigError, MissingExtraError
from pixelreasoner.core.metrics_file import read_curves
from pixelreasoner.train.progress import RunLog
from pixelreasoner.train.rl import RLConfig
from pixelreasoner.train.trackers import PACKAGES, TrackedRun, check_trackers, open_trackers

OWN = """
from pathlib import Path


class Mine:
    def __init__(self, run):
        self.path = run.folder / "mine.txt"
        self.path.write_text(f"{run.label} {run.resume_at} {run.config['steps']}\\n")

    def log(self, step, metrics):
        with self.path.open("a") as file:
            file.write(f"{step} {metrics['reward']}\\n")

    def close(self):
        with self.path.open("a") as file:
            file.write("closed\\n")
"""


def test_a_tracker_of_the_users_is_told_of_every_step(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("own_tracker.py").write_text(OWN)
    config = RLConfig(out=tmp_path / "run", steps=3)
    with RunLog(tmp_path / "run", 3, "rl", resume_at=1, trackers=("own_tracker:Mine",), config=config) as log:
        log.step(2, {"reward": 0.25})
        log.step(3, {"reward": 0.5})
    assert (tmp_path / "run" / "mine.txt").read_text() == "rl 1 3\n2 0.25\n3 0.5\nclosed\n"
    assert read_curves(tmp_path / "run", ["reward"]) == {"reward": [0.25, 0.5]}


def test_metrics_are_written_once_whether_jsonl_is_named_or_not(tmp_path):
    for names in ((), ("jsonl",)):
        trackers = open_trackers(names, TrackedRun(tmp_path / str(len(names)), "sft"))
        assert [type(tracker).__name__ for tracker in trackers] == ["JsonlTracker"]
        trackers[0].close()


def test_an_unknown_tracker_is_refused_with_the_registered_ones(tmp_path):
    with pytest.raises(ConfigError, match="jsonl, tensorboard, trackio, wandb"):
        open_trackers(("mlflow",), TrackedRun(tmp_path, "rl"))


@pytest.mark.parametrize("name", ["trackio", "wandb", "tensorboard"])
def test_a_missing_package_comes_with_an_instruction(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)  # importing it now raises ModuleNotFoundError
    with pytest.raises(MissingExtraError, match=rf"pip install 'pixelreasoner\[{name}\]'"):
        open_trackers((name,), TrackedRun(tmp_path, "rl"))


def test_a_run_keeps_its_id_and_another_folder_has_another(tmp_path):
    def id_of(folder: Path, **options: Any) -> str:
        return TrackedRun(folder, "rl", **options).id

    assert id_of(tmp_path / "a") == id_of(tmp_path / "a", resume_at=7)
    assert id_of(tmp_path / "a") != id_of(tmp_path / "b")


def test_what_is_missing_is_told_without_opening_anything(monkeypatch):
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ConfigError, match=rf"pip install 'pixelreasoner\[{name}\]'"):
            check_trackers(("jsonl", name))
    with pytest.raises(ConfigError, match="there is no tracker 'mlflow'"):
        check_trackers(("mlflow",))
    check_trackers(("jsonl",))
