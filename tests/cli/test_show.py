"""Rules of `show`: what is printed, what is written, what is said about a file that holds nothing."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.media import Picture
from pixelreasoner.core.records import read_trajectories, write_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn


@pytest.fixture
def records(tmp_path: Path) -> Path:
    photo = Picture(np.zeros((8, 8, 3), np.uint8))
    path = tmp_path / "warm_start.jsonl"
    rollouts = [
        Trajectory(Task(f"t{i}", f"Question {i}?", (photo,), ("K",)), (Turn("K"),), StopReason.ANSWER, "K")
        for i in range(3)
    ]
    write_trajectories(path, rollouts)
    return path


def test_trajectories_are_printed_up_to_the_limit(records: Path, capsys):
    assert main(["show", str(records), "--limit", "2"]) == 0
    out = capsys.readouterr().out
    assert "Question 1?" in out
    assert "Question 2?" not in out


def test_html_writes_a_page_instead(records: Path, tmp_path: Path, capsys):
    page = tmp_path / "page.html"
    assert main(["show", str(records), "--html", str(page)]) == 0
    assert "Question 0?" not in capsys.readouterr().out
    assert page.read_text().count('<details class="trajectory"') == 3
    assert "<title>warm_start</title>" in page.read_text()


def test_one_trajectory_is_one_file(records: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    assert main(["show", str(records), "--html", str(page), "--limit", "1"]) == 0
    assert "data:image/png" in page.read_text()
    assert not (tmp_path / "page_files").exists()


def test_a_page_gets_all_unless_told_otherwise(tmp_path: Path):
    photo = Picture(np.zeros((8, 8, 3), np.uint8))
    many = [
        Trajectory(Task(f"t{i}", f"Question {i}?", (photo,), ("K",)), (Turn("K"),), StopReason.ANSWER)
        for i in range(23)
    ]
    write_trajectories(tmp_path / "many.jsonl", many)
    assert main(["show", str(tmp_path / "many.jsonl"), "--html", str(tmp_path / "page.html")]) == 0
    assert "23 tasks" in (tmp_path / "page.html").read_text()


def test_two_runs_of_the_same_tasks_go_to_one_page(records: Path, tmp_path: Path, capsys):
    for name in ("a", "b"):
        write_trajectories(tmp_path / name / "trajectories.jsonl", list(read_trajectories(records)))
    a, b, page = str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "page.html")
    assert main(["show", a, b, "--html", page]) == 0
    assert "a: 3 attempts" in Path(page).read_text()
    assert "b: 3 attempts" in Path(page).read_text()
    assert main(["show", a, b]) == 2
    assert "add --html FILE" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--html", "page.html", "--task", "nix"], []])
def test_nothing_to_show_leaves_nothing_behind(records: Path, tmp_path: Path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert main(["show", *([str(records)] if options else []), *options]) == 2
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_cut_in_mid_line_shows_what_is_whole(records: Path, capsys):
    with records.open("a") as f:
        f.write('{"half')
    assert main(["show", str(records)]) == 0
    assert "Question 2?" in capsys.readouterr().out


def test_an_empty_or_missing_file_is_the_users_error(tmp_path: Path, capsys):
    (tmp_path / "empty.jsonl").write_text("")
    assert main(["show", str(tmp_path / "empty.jsonl")]) == 2
    assert "holds no trajectories" in capsys.readouterr().err
    assert main(["show", str(tmp_path / "gone.jsonl")]) == 2


def of_step(step: int, which: str) -> Trajectory:
    """Rollout "a" stops after three turns and earns nothing; "b" answers and earns a tenth per step."""
    photo = Picture(np.zeros((8, 8, 3), np.uint8))
    return Trajectory(
        Task(f"t{step}{which}", f"Question {step}{which}?", (photo,), ("K",)),
        (Turn("K"),) * (3 if which == "a" else 1),
        StopReason.TURN_LIMIT if which == "a" else StopReason.ANSWER,
        metrics={"step": step, "reward": 0.0 if which == "a" else step / 10, "advantage": -1.0},
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of RL with two files, of the steps 1 and 2, and 3 and 4."""
    folder = tmp_path / "rl"
    for first in (1, 3):
        rollouts = [of_step(step, which) for step in (first, first + 1) for which in "ab"]
        write_trajectories(folder / "rollouts" / f"step-{first:06}.jsonl", rollouts)
    return folder


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--step", "3"], ["3a", "3b"]),
        (["--step", "-1"], ["4a", "4b"]),
        (["--step", "-3"], ["2a", "2b"]),
        (["--lowest", "reward", "--limit", "5"], ["1a", "2a", "3a", "4a", "1b"]),
        (["--highest", "reward", "--limit", "2"], ["4b", "3b"]),
        (["--step", "2", "--highest", "reward", "--limit", "1"], ["2b"]),
        (["--highest", "turns", "--step", "1", "--limit", "1"], ["1a"]),
        (["--stop", "turn_limit"], ["1a", "2a", "3a", "4a"]),
        (["--task", "t3b"], ["3b"]),
        (["--limit", "3"], ["1a", "1b", "2a"]),
    ],
)
def test_the_rollouts_of_a_run_are_chosen_by_step_value_and_stop_reason(run: Path, capsys, options, shown):
    assert main(["show", str(run), *options]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"Question (\w+)\?", out) == shown


@pytest.mark.parametrize("width", ["80", "160"])
def test_a_table_has_a_line_for_each(run: Path, capsys, monkeypatch, width: str):
    monkeypatch.setenv("COLUMNS", width)
    assert main(["show", str(run), "--step", "4", "--table"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["task", "step", "reward", "advantage"]
    assert lines[0].split()[:4] == ["t4a", "4", "0", "-1"]
    assert lines[1].split()[:4] == ["t4b", "4", "0.4", "-1"]
    assert "turn limit" in lines[0]


def test_only_the_pictures_of_what_is_shown_are_read(run: Path, capsys):
    """A missing picture matters to nobody who does not look at it."""
    other = Picture(np.ones((9, 9, 3), np.uint8))
    task = Task("t5", "Question 5?", (other,), ("K",))
    last = Trajectory(task, (Turn("K"),), StopReason.ANSWER, metrics={"step": 5, "reward": 9.0})
    write_trajectories(run / "rollouts" / "step-000005.jsonl", [last])
    (run / "rollouts" / "media" / f"{other.digest}.png").unlink()
    assert main(["show", str(run), "--lowest", "reward"]) == 2
    assert main(["show", str(run), "--lowest", "reward", "--limit", "3"]) == 0
    assert "Question 5?" not in capsys.readouterr().out


def test_a_run_of_synthesis_or_evaluation_shows_its_trajectories(records: Path, tmp_path: Path, capsys):
    records.rename(tmp_path / "trajectories.jsonl")
    assert main(["show", str(tmp_path), "--limit", "1"]) == 0
    assert "Question 0?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lowest", "nix"], "they have step, reward, advantage, operations"),
        (["--step", "9"], "no such trajectories"),
        (["--step", "-9"], "no such trajectories"),
        (["--lowest", "reward", "--highest", "reward"], "exclude one another"),
    ],
)
def test_what_is_not_there_is_the_users_error(run: Path, capsys, options, message):
    assert main(["show", str(run), *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_template_that_no_trajectory_has_is_answered_with_those_there_are(records: Path, capsys):
    assert main(["show", str(records), "--template", "recrop"]) == 2
    assert "holds no such trajectories" in capsys.readouterr().err
    written = ["single_pass", "recrop_once", "single_pass"]
    made = [replace(t, source=s) for t, s in zip(read_trajectories(records), written, strict=True)]
    write_trajectories(records, made)
    assert main(["show", str(records), "--template", "recrop"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "of the template 'recrop'; there are: single_pass (2), recrop_once (1)" in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"schema": "pixelreasoner.task/3", "id": "a"}', r"line 2: this is 'pixelreasoner.task/3' where"),
        ('{"messages": []}', "line 2: this is None where 'pixelreasoner.trajectory/3' is needed"),
        ("{oops}", r"line 2: not JSON \(.* at character 2\)$"),
        ("[1]", "line 2: a record is a JSON object"),
    ],
)
def test_a_line_that_is_no_trajectory_is_named_once(records: Path, capsys, line, words):
    """Of another format, or not JSON: the number of the line, and no other."""
    lines = records.read_text().splitlines()
    records.write_text("\n".join([lines[0], line, lines[2]]) + "\n")
    assert main(["show", str(records)]) == 2
    error = capsys.readouterr().err
    assert re.search(words, error.strip())
    assert str(records) in error
    assert len(re.findall(r"line \d", error)) == 1


def test_a_byte_order_mark_is_passed_over(records: Path, capsys):
    """Case C20, of records."""
    records.write_bytes(b"\xef\xbb\xbf" + records.read_bytes())
    assert main(["show", str(records)]) == 0
    assert "Question 0?" in capsys.readouterr().out
