"""Rules of the page of `compare`: what it reads of the folders of evaluations."""

import json
from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.cli.compare_page import evaluated_run, write_compare_page
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn
from pixelreasoner.evals.metrics import summarize


def evaluation(folder: Path, *scores: float) -> Path:
    folder.mkdir(parents=True)
    photo = Picture(np.zeros((8, 8, 3), np.uint8))
    made = [
        Trajectory(
            Task(f"t{i}", "Which?", (photo,), ("a",), "k"), (Turn("a"),), StopReason.ANSWER, "a",
            metrics={"correct": score},
        )
        for i, score in enumerate(scores)
    ]  # fmt: skip
    write_trajectories(folder / "trajectories.jsonl", made)
    (folder / "summary.json").write_text(json.dumps(summarize(made)))
    (folder / "config.toml").write_text(f'out = "{folder}"\nn = 2\n[model]\ncheckpoint = "{folder.name}"\n')
    return folder


def test_evidence_overlap_and_protocol_are_read_from_the_folders(tmp_path: Path):
    plain, other = evaluation(tmp_path / "e" / "plain", 1.0, 0.0), evaluation(tmp_path / "other", 0.0, 0.0)
    (tmp_path / "e" / "evidence.json").write_text(json.dumps({"verdict": "It was worth it.", "all": {}}))
    found = {"a": {"name": "mine"}, "b": {"name": "theirs", "tasks": 2}, "found": {"any": 1}}
    (other / "overlap.json").write_text(json.dumps(found))
    page = tmp_path / "page.html"
    assert write_compare_page([plain, other], page, None) == 2
    text = page.read_text()
    assert "It was worth it." in text
    assert "1 of 2 tasks of theirs overlap with mine." in text
    assert "model.checkpoint" in text


def test_the_protocol_of_the_summary_goes_before_the_recipe(tmp_path: Path):
    folder = evaluation(tmp_path / "run", 1.0)
    assert evaluated_run("run", folder).protocol == {"n": 2, "model": {"checkpoint": "run"}}
    (folder / "protocol.json").write_text(json.dumps({"seed": 1}))
    assert evaluated_run("run", folder).protocol == {"seed": 1}
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "protocol": {"seed": 2}}))
    assert evaluated_run("run", folder).protocol == {"seed": 2}


def test_what_was_compared_goes_before_what_the_folder_holds(tmp_path: Path):
    folder = evaluation(tmp_path / "run", 1.0)
    run = evaluated_run("run", folder, {"summary": {"n": 7}, "protocol": {"seed": 3}})
    assert (run.summary, run.protocol) == ({"n": 7}, {"seed": 3})
    assert [t.task.id for t in run.trajectories] == ["t0"]
    assert evaluated_run("run", folder, {"summary": {"n": 7}, "protocol": None}).protocol["n"] == 2


def test_a_folder_without_a_finished_evaluation_is_refused(tmp_path: Path):
    with pytest.raises(RecordError, match="no finished evaluation"):
        evaluated_run("run", tmp_path)
    folder = evaluation(tmp_path / "run", 1.0)
    (folder / "summary.json").write_text("[")
    with pytest.raises(RecordError, match="cannot be read"):
        evaluated_run("run", folder)


def test_files_of_trajectories_in_one_folder_are_each_read_themselves(tmp_path: Path):
    folder = evaluation(tmp_path / "run", 0.0)
    (folder / "trajectories.jsonl").rename(folder / "first.jsonl")
    other = evaluation(tmp_path / "other", 1.0)
    (other / "trajectories.jsonl").rename(folder / "second.jsonl")
    made = {name: evaluated_run(name, folder / f"{name}.jsonl") for name in ("first", "second")}
    scores = {name: [t.metrics["correct"] for t in run.trajectories] for name, run in made.items()}
    assert scores == {"first": [0.0], "second": [1.0]}
    assert made["first"].protocol == {}
