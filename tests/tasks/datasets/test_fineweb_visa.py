"""FineWeb-VISA: which rows are used, and the box of the passage as the cue."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.geometry import Box
from pixelreasoner.tasks.datasets import picture_sizes
from pixelreasoner.tasks.datasets.fineweb_visa import fineweb_visa
from pixelreasoner.tasks.datasets.known import recognise
from seed_files import make_fineweb_visa

pa = pytest.importorskip("pyarrow")


def opened(path: Path):
    return fineweb_visa(split="train", path=str(path))


def test_pages_with_their_passage(tmp_path: Path):
    made = make_fineweb_visa(tmp_path, 40)
    tasks = opened(tmp_path)
    usable = [page for page in made if not page.fault]
    assert (tasks.size, tasks.kinds) == (36, ("webpage",))
    for task, page in zip(tasks.take(0, 99), usable, strict=True):
        assert (task.question, task.answers) == (page.question, (page.short_answer,))
        assert task.cue is not None
        assert task.cue.box == Box(*page.passage)
        # The box of the passage is where its text really is: dark there, and white around it.
        x1, y1, x2, y2 = page.answer_box
        assert Box(*page.passage).contains(Box(x1, y1, x2, y2))
        assert task.media[0].pixels[y1:y2, x1:x2].min() < 100


def test_rows_without_a_usable_box_are_counted_with_the_reason(tmp_path: Path):
    make_fineweb_visa(tmp_path, 80, shards=1)
    left_out = opened(tmp_path).report.left_out
    assert {reason: entry.rows for reason, entry in left_out.items()} == {
        "no box of the evidence": 4,
        "the box is at most 10 px wide or high": 2,
        "the box is at most 10 px from an edge": 2,
    }


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (width, height)).save(out, "PNG")
    return out.getvalue()


BYTES = {"question": pa.string(), "short_answer": pa.string(), "image": pa.binary(),
         "bounding_box": pa.list_(pa.float64())}  # fmt: skip


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([11, 11, 22, 22], None),
        ([89, 39, 100, 50], None),  # of 111x61: 11 px to the right and below
        ([10, 11, 22, 22], "10 px from an edge"),
        ([11, 10, 22, 22], "10 px from an edge"),
        ([89, 39, 101, 50], "10 px from an edge"),
        ([89, 39, 100, 51], "10 px from an edge"),
        ([11, 11, 21, 50], "10 px wide or high"),
        ([11, 11, 50, 21], "10 px wide or high"),
        ([50, 50, 20, 20], "no box"),
        ([11, 11, 50], "no box"),
        ([], "no box"),
        ([11, 11, float("nan"), 40], "no box"),
    ],
)
def test_the_bounds_of_a_box(box: list, reason: str | None, tmp_path: Path, parquet):
    good = {"question": "Q?", "short_answer": "good", "image": png(111, 61), "bounding_box": [20, 20, 40, 40]}
    parquet(
        tmp_path / "train-0.parquet", [good, {**good, "short_answer": "this", "bounding_box": box}], BYTES
    )
    tasks = opened(tmp_path)
    assert [t.answers[0] for t in tasks.take(0, 9)] == (["good"] if reason else ["good", "this"])
    assert all(reason is not None and reason in found for found in tasks.report.left_out)


def test_a_page_that_cannot_be_read_is_left_out(tmp_path: Path, parquet):
    row = {"question": "Q?", "short_answer": "A", "image": png(100, 100), "bounding_box": [20, 20, 40, 40]}
    parquet(tmp_path / "train-0.parquet", [{**row, "image": b"no picture"}, row], BYTES)
    tasks = opened(tmp_path)
    assert tasks.size == 1
    assert [*tasks.report.left_out] == ["the picture cannot be read"]


def test_the_pages_are_measured_once(tmp_path: Path, monkeypatch):
    make_fineweb_visa(tmp_path, 12)
    ids = [t.id for t in opened(tmp_path).take(0, 99)]
    monkeypatch.setattr(picture_sizes, "inspect_image", None)
    assert [t.id for t in opened(tmp_path).take(0, 99)] == ids


def test_pages_in_files_are_measured_when_they_are_taken(tmp_path: Path):
    Image.new("L", (100, 100)).save(tmp_path / "page.png")
    row = {"question": "Q?", "short_answer": "A", "image": "page.png", "bounding_box": [20, 20, 40, 40]}
    rows = [row, {**row, "bounding_box": [20, 20, 95, 40]}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    tasks = opened(tmp_path)
    assert [t.answers for t in tasks.take(0, 1)] == [("A",)]
    with pytest.raises(
        RecordError, match=r"line 2: the box is at most 10 px from an edge: \[20, 20, 95, 40\] on"
    ):
        list(tasks.take(1, 1))


def test_a_folder_is_recognised(tmp_path: Path):
    make_fineweb_visa(tmp_path, 4)
    assert recognise(tmp_path).name == "fineweb-visa"
