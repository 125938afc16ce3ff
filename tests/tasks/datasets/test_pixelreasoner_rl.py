"""PixelReasoner-RL-Data: its rows as tasks, and what is said of those that are none."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest

from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.media import Video
from pixelreasoner.tasks.config import TasksConfig, build_tasks
from pixelreasoner.tasks.datasets.pixelreasoner_rl import pixelreasoner_rl
from tasks.datasets.conftest import pack, png, put, write_json

CHOICE = "<image>\nWhat is it made of?\nA. rubber\nB. cotton"
FRAMES = [f"videos/v/{i}.png" for i in range(3)]


def row(qid: str, question: str, image: list, *answer: str, is_video: bool | None = None) -> dict:
    return {"qid": qid, "question": question, "image": image, "answer": list(answer), "is_video": is_video}


ROWS = [
    row("i-1", CHOICE, ["images/a.png"], "\\boxed{B}", is_video=False),
    row("i-2", "How many?", ["images/b.png", None], "\\boxed{12}"),
    row("v-1", "Who leaves?", FRAMES, "\\boxed{['the man', 'a man']}", is_video=True),
]
BROKEN = [
    row("x-1", "Q?", ["images/gone.png"], "\\boxed{1}"),
    row("x-2", "Q?", ["images/a.png"]),
    row("x-3", "<image>\n", ["images/a.png"], "\\boxed{1}"),
    row("x-4", "Q?", [None, ""], "\\boxed{1}"),
    row("x-5", "Q?", ["images/gone2.png"], "\\boxed{1}"),
]


def types():
    import pyarrow as pa

    texts = pa.list_(pa.string())
    return {
        "qid": pa.string(),
        "question": pa.string(),
        "image": texts,
        "answer": texts,
        "is_video": pa.bool_(),
    }


@pytest.fixture
def folder(tmp_path: Path, parquet) -> Path:
    """As on the hub: a Parquet file, and pictures packed in archives, one with the folder's name in it."""
    parquet(tmp_path / "release.parquet", [*ROWS, *BROKEN], types())
    pack(tmp_path / "images.zip", "images/a.png", "images/b.png")
    pack(tmp_path / "videos.zip", *(name.removeprefix("videos/") for name in FRAMES))
    return tmp_path


def test_tasks(folder: Path):
    tasks = pixelreasoner_rl(split="train", path=str(folder))
    assert (tasks.size, tasks.kinds) == (3, ("image", "video"))
    first, second, third = tasks.take(0, 3)
    assert first.question == "What is it made of?\nA. rubber\nB. cotton"
    assert (first.id, first.answers, first.scorer, first.split) == ("i-1", ("B",), "choice", "train")
    assert (second.answers, second.scorer, len(second.media)) == (("12",), "", 1)
    assert third.answers == ("the man", "a man")
    assert isinstance(third.media[0], Video)
    assert len(third.media[0].frames) == 3


def test_packed_and_unpacked_pictures_are_the_same(folder: Path, tmp_path_factory):
    other = tmp_path_factory.mktemp("unpacked")
    put(other, "images/a.png", "images/b.png")
    put(other, *FRAMES)
    write_json(other / "rows.json", ROWS)
    packed = pixelreasoner_rl(split="train", path=str(folder)).take(0, 3)
    assert list(pixelreasoner_rl(split="train", path=str(other)).take(0, 3)) == list(packed)


def test_rows_that_cannot_be_used_are_counted_and_named(folder: Path, caplog):
    report = pixelreasoner_rl(split="train", path=str(folder)).report
    assert (report.rows, report.unusable) == (8, 5)
    assert report.forms == {"letter": 1, "number": 1, "alternatives": 1}
    assert {reason: entry.rows for reason, entry in report.left_out.items()} == {
        "a file of an image or a video is missing": 2,
        "no answer": 1,
        "no question": 1,
        "no image or video": 1,
    }
    assert list(report.lines())[:3] == [
        "2 rows left out: a file of an image or a video is missing",
        "  release.parquet, row 4: images/gone.png",
        "  release.parquet, row 8: images/gone2.png",
    ]
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert line.endswith(
        "8 rows; 5 left out: a file of an image or a video is missing (2), no answer (1), no question (1), "
        "no image or video (1)"
    )


def test_a_selection_keeps_the_report_and_an_order_of_its_own(folder: Path):
    config = TasksConfig(
        source="pixelreasoner-rl", options={"path": str(folder)}, kinds=("image",), shuffle=1
    )
    tasks = build_tasks(config)
    assert sorted(task.id for task in tasks.take(0, 9)) == ["i-1", "i-2"]
    assert tasks.report.unusable == 5
    again = pickle.loads(pickle.dumps(tasks))  # processes that compose trajectories take it with them
    assert list(again.take(0, 2)) == list(tasks.take(0, 2))


def test_nothing_usable_and_nothing_there(tmp_path: Path):
    write_json(tmp_path / "rows.json", BROKEN[:1])
    with pytest.raises(
        RecordError, match=r"(?s)has no usable row.*missing\n  rows.json, row 1: images/gone.png"
    ):
        pixelreasoner_rl(split="train", path=str(tmp_path))
    (tmp_path / "rows.json").unlink()
    with pytest.raises(RecordError, match=r"holds no file of pixelreasoner-rl; looked for: release\.parquet"):
        pixelreasoner_rl(split="train", path=str(tmp_path))
    with pytest.raises(RecordError, match="does not exist; give the folder of pixelreasoner-rl"):
        pixelreasoner_rl(split="train", path=str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match=r"has no split 'rl'; tasks\.split is one of train"):
        pixelreasoner_rl(split="rl", path=str(tmp_path))


def test_a_picture_that_is_none_is_named_when_it_is_taken(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png()[:40])
    write_json(tmp_path / "rows.json", ROWS[:1])
    tasks = pixelreasoner_rl(split="train", path=str(tmp_path))
    with pytest.raises(RecordError, match=r"rows\.json, row 1: images\[0\]: .*a\.png"):
        list(tasks.take(0, 1))


def test_the_hub_is_asked_for_its_files(folder: Path, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot(name, *, allow_patterns, repo_type):
        asked.append((name, repo_type, "*.zip" in allow_patterns))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert pixelreasoner_rl(split="train").size == 3
    assert asked == [("TIGER-Lab/PixelReasoner-RL-Data", "dataset", True)]
