"""Rules of `show`: what is printed, what is written, what is said about a file that holds nothing."""

from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.media import Picture
from pixelreasoner.core.records import write_trajectories
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
    assert page.read_text().count("<details") == 3
    assert "warm start: 3 trajectories" in page.read_text()


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
