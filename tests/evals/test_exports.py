"""Exports have the other harnesses' fields, with the values of the evaluation."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.evals.exports import export, export_lmms_eval, read_rows

OPTIONS = ("red", 'a "blue"\tone')


def trajectory(number: int, score: float, kind: str, answer: str | None = "A") -> Trajectory:
    task = Task(
        f"q{number}", f"Which colour?\nA. red ({number})", (), ("A",) if number else ("A", "red"), kind,
        split="test", options=OPTIONS,
    )  # fmt: skip
    zoom = Turn("Closer.", ToolCall("crop_image"), Observation("Image 2:", valid=False))
    turns = (zoom, Turn(f"\\boxed{{{answer}}}"))
    return Trajectory(task, turns, StopReason.ANSWER, answer, metrics={"correct": score, "pr_compat": 1.0})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scores 1, 0, 1 of the kind `near`, and 0 of `far`."""
    folder = tmp_path / "run"
    made = [
        trajectory(i, s, k) for i, (s, k) in enumerate([(1, "near"), (0, "near"), (1, "near"), (0, "far")])
    ]
    write_trajectories(folder / "trajectories.jsonl", made)
    (folder / "summary.json").write_text("{}")
    (folder / "config.toml").write_text(
        'out = "run"\nbenchmark = "vstar"\n[model]\ncheckpoint = "org/model"\n'
    )
    return folder


def test_lmms_eval(folder: Path, tmp_path: Path):
    assert main(["export", str(folder), "--format", "lmms-eval", "--out", str(tmp_path / "out")]) == 0
    results, samples = sorted((tmp_path / "out" / "org__model").iterdir())
    assert results.name.endswith("_results.json")
    assert samples.name.endswith("_samples_vstar.jsonl")
    assert results.name.split("_results")[0] == samples.name.split("_samples")[0]
    table = json.loads(results.read_text())
    found = table["results"]["vstar"]
    assert (found["alias"], found["correct,none"], found["pr_compat,none"]) == ("vstar", 0.5, 1.0)
    # The standard deviation of 1, 0, 1, 0 is sqrt(1/3); their standard error is half of it.
    assert found["correct_stderr,none"] == pytest.approx((1 / 3) ** 0.5 / 2)
    assert table["n-samples"] == {"vstar": {"original": 4, "effective": 4}}
    assert table["higher_is_better"] == {"vstar": {"correct": True}}
    assert table["n-shot"] == {"vstar": 0}
    assert table["model_name"] == "org/model"
    for name in ("configs", "versions", "group_subtasks", "task_hashes"):
        assert table[name].keys() == {"vstar"}
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    assert [line["doc_id"] for line in lines] == [0, 1, 2, 3]
    assert [line["correct"] for line in lines] == [1, 0, 1, 0]
    assert [line["target"] for line in lines] == ['["A", "red"]', "A", "A", "A"]
    assert lines[0]["filtered_resps"] == ["A"]
    assert lines[0]["resps"] == [["\\boxed{A}"]]
    assert lines[0]["input"].startswith("Which colour?")
    assert all(len({line[name] for line in lines}) == 4 for name in ("doc_hash", "prompt_hash"))
    assert lines[1]["target_hash"] == lines[2]["target_hash"] != lines[0]["target_hash"]


def test_vlmevalkit(folder: Path, tmp_path: Path):
    arguments = ["--format", "vlmevalkit", "--out", str(tmp_path / "out"), "--model", "m", "--task", "My/Set"]
    assert main(["export", str(folder), *arguments]) == 0
    with (tmp_path / "out" / "m_My__Set.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["index"] for row in rows] == ["q0", "q1", "q2", "q3"]
    assert rows[0]["question"] == "Which colour?\nA. red (0)"
    assert (rows[0]["A"], rows[0]["B"], rows[1]["answer"]) == (*OPTIONS, "A")
    assert [row["category"] for row in rows] == ["near", "near", "near", "far"]
    assert (rows[0]["prediction"], [row["hit"] for row in rows]) == ("\\boxed{A}", ["1", "0", "1", "0"])
    records = json.loads(rows[0]["extra_records"])
    assert records == [
        {"text": "Closer.", "observation": "Image 2:"},
        {"text": "\\boxed{A}", "observation": None},
    ]
    with (tmp_path / "out" / "m_My__Set_acc.csv").open(newline="") as file:
        (accuracy,) = csv.DictReader(file)
    assert accuracy == {"split": "test", "Overall": "0.5", "far": "0", "near": "0.6666666667"}


def test_a_rollout_without_a_message_is_an_empty_prediction(tmp_path: Path):
    path = tmp_path / "trajectories.jsonl"
    task = Task("q", "Q?", (), ("A",))
    write_trajectories(path, [Trajectory(task, (), StopReason.TOKEN_LIMIT, metrics={"correct": 0.0})])
    rows = list(read_rows(path))
    assert (rows[0].response, rows[0].answer) == ("", "")
    (_, samples) = export_lmms_eval(
        rows, tmp_path, task="t", model="m", when=datetime(2026, 1, 2, tzinfo=UTC)
    )
    assert samples.name == "20260102_000000_samples_t.jsonl"
    assert json.loads(samples.read_text())["filtered_resps"] == [""]


def test_several_rollouts_of_a_task_are_one_sample_and_rows_of_their_own(tmp_path: Path):
    path = tmp_path / "trajectories.jsonl"
    scores = [(0, 1.0), (0, 0.0), (1, 1.0), (1, 1.0)]
    write_trajectories(path, [trajectory(i, score, "near") for i, score in scores])
    results, samples = export(path, tmp_path / "a", form="lmms-eval", task="t", model="m")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    assert [(line["doc_id"], line["correct"], len(line["resps"][0])) for line in lines] == [
        (0, 0.5, 2),
        (1, 1.0, 2),
    ]
    table = json.loads(results.read_text())
    assert table["n-samples"]["t"]["original"] == 2
    assert table["results"]["t"]["correct,none"] == 0.75
    predictions, _ = export(path, tmp_path / "b", form="vlmevalkit", task="t", model="m")
    with predictions.open(newline="") as file:
        assert [row["index"] for row in csv.DictReader(file, delimiter="\t")] == ["q0", "q0#2", "q1", "q1#2"]


def test_exporting_twice_gives_the_same_files(folder: Path, tmp_path: Path):
    path = folder / "trajectories.jsonl"
    for form in ("lmms-eval", "vlmevalkit"):
        first = export(path, tmp_path / "a" / form, form=form, task="t", model="m")
        second = export(path, tmp_path / "b" / form, form=form, task="t", model="m")
        assert [(p.name, p.read_bytes()) for p in first] == [(p.name, p.read_bytes()) for p in second]


def test_what_is_no_finished_evaluation_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (folder / "summary.json").unlink()
    assert main(["export", str(folder), "--format", "vlmevalkit", "--out", str(tmp_path / "out")]) == 2
    assert "holds no finished evaluation" in capsys.readouterr().err
    unscored = tmp_path / "unscored.jsonl"
    write_trajectories(unscored, [Trajectory(Task("q", "Q?", (), ()), (), StopReason.ANSWER)])
    with pytest.raises(RecordError, match="task 'q' has no score"):
        export(unscored, tmp_path, form="vlmevalkit", task="t", model="m")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(RecordError, match="no trajectories to export"):
        export(tmp_path / "empty.jsonl", tmp_path, form="vlmevalkit", task="t", model="m")


def test_a_file_whose_last_line_was_cut_is_not_exported_in_part(tmp_path: Path):
    path = tmp_path / "trajectories.jsonl"
    path.write_text('{"schema": "pixelreasoner.traj')
    with pytest.raises(RecordError):
        list(read_rows(path))
