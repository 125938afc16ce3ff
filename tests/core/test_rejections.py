"""Trajectories by template and by verdict, from the folder of a synthesis."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.record_query import RecordQuery, find_trajectories
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.rejections import Rejection, read_rejections
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn

PHOTO = Picture(np.zeros((8, 8, 3), np.uint8))


def made(name: str, source: str) -> Trajectory:
    return Trajectory(
        Task(name, f"Question {name}?", (PHOTO,), ("K",)), (Turn("K"),), StopReason.ANSWER, "K", source=source
    )


def row(stage: str, reason: str, **more: object) -> dict[str, object]:
    return {"slot": 0, "task": "t", "index": 0, "stage": stage, "reason": reason, **more}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two that were kept, three that were turned down, one of them before it was a trajectory."""
    folder = tmp_path / "run"
    write_trajectories(folder / "trajectories.jsonl", [made("a", "text_only"), made("b", "recrop_once")])
    write_trajectories(
        folder / "rejected" / "trajectories.jsonl", [made("c", "recrop_once"), made("d", "further_zoom")]
    )
    rows = [
        row("judge", "not needed", detail="it saw K", trajectory=0),
        row("outline", "no room"),
        row("ocr", "no text", trajectory=1),
    ]
    (folder / "rejections.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def ids(run: Path, **query: object) -> list[str]:
    return [y.task.id for y in find_trajectories(run, RecordQuery(**query))]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["a", "b"]),
        ({"verdict": "kept"}, ["a", "b"]),
        ({"verdict": "rejected"}, ["c", "d"]),
        ({"verdict": "all"}, ["a", "b", "c", "d"]),
        ({"verdict": "judge"}, ["c"]),
        ({"verdict": "no text"}, ["d"]),
        ({"verdict": "ocr.no text"}, ["d"]),
        ({"template": "recrop_once"}, ["b"]),
        ({"template": "recrop_once", "verdict": "all"}, ["b", "c"]),
        ({"template": "recrop_once", "verdict": "rejected", "task": "d"}, []),
        ({"verdict": "rejected", "limit": 1}, ["c"]),
    ],
)
def test_verdict_and_template_choose(run: Path, query: dict[str, object], found: list[str]):
    assert ids(run, **query) == found


def test_what_was_turned_down_says_why(run: Path):
    reasons = [y.rejection for y in find_trajectories(run, RecordQuery(verdict="all"))]
    assert reasons == ["", "", "judge: not needed (it saw K)", "ocr: no text"]


def test_a_verdict_without_a_record_is_explained(run: Path):
    with pytest.raises(
        RecordError, match=r"judge\.not needed \(1\), outline\.no room \(1\), ocr\.no text \(1\)"
    ):
        ids(run, verdict="typo")
    with pytest.raises(RecordError, match=r"1 tasks were turned down so \(outline\) before"):
        ids(run, verdict="outline")


def test_a_run_without_rejections_has_none(run: Path):
    (run / "rejections.jsonl").unlink()
    assert ids(run, verdict="all") == ["a", "b"]
    with pytest.raises(RecordError, match="--verdict is for the folder of a synthesis"):
        ids(run, verdict="rejected")


def test_a_line_that_is_being_written_is_passed_over(run: Path):
    with (run / "rejections.jsonl").open("a") as file:
        file.write('{"stage": "ocr"')
    assert list(read_rejections(run))[-1] == Rejection("ocr", "no text", line=1)
    with (run / "rejections.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(RecordError, match="line 4: no rejection"):
        list(read_rejections(run))


def test_show_prints_the_reason(run: Path, capsys):
    assert main(["show", str(run), "--verdict", "judge"]) == 0
    out = capsys.readouterr().out
    assert "Question c?" in out
    assert "turned down · judge: not needed (it saw K)" in out
    assert main(["show", str(run), "--verdict", "all", "--template", "recrop_once", "--table"]) == 0
    table = capsys.readouterr().out
    assert "turned down" in table
    assert "further zoom" not in table
