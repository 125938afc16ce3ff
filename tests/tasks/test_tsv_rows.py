"""Rules of reading tab-separated values with pictures in base64."""

from __future__ import annotations

import base64
import csv
from pathlib import Path

import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.tasks.tsv_rows import TsvRows

LARGE = base64.b64encode(bytes(range(256)) * 1200).decode()
"""Longer than what the module `csv` takes by default."""
ROWS = [
    {"index": "0", "image": LARGE, "question": 'Two\nlines, a "quote"\tand a tab?', "answer": "A"},
    {"index": "1", "image": "0", "question": "naïve 🟥", "answer": ""},
    {"index": "2", "image": LARGE[:-4] + "AAAA", "question": "plain", "answer": "B"},
]


@pytest.fixture(params=["\n", "\r\n"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """As `pandas.to_csv(sep="\\t")` writes it."""
    out = tmp_path / "rows.tsv"
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ROWS[0], delimiter="\t", lineterminator=request.param)
        writer.writeheader()
        writer.writerows(ROWS)
    return out


def test_pictures_are_not_looked_at_before_a_row_is_read(path: Path):
    rows = TsvRows(path, embedded="a picture")
    assert list(rows.scan()) == [
        (1, {**ROWS[0], "image": "a picture"}),
        (2, {"index": "1", "image": "a picture", "question": "naïve 🟥"}),
        (3, {**ROWS[2], "image": "a picture"}),
    ]


def test_rows_are_read_in_any_order_and_a_picture_may_be_that_of_another_row(path: Path):
    limit = csv.field_size_limit()
    rows = TsvRows(path)
    list(rows.scan())
    assert list(rows.read([3, 2, 1])) == [
        ROWS[2],
        {"index": "1", "image": LARGE, "question": "naïve 🟥"},
        ROWS[0],
    ]
    assert csv.field_size_limit() == limit


def test_a_row_of_another_length_is_one_that_cannot_be_read(path: Path):
    with path.open("a") as file:
        file.write("3\tpicture\n4\t\tQ?\tC\n")
    (_, broken), (_, last) = list(TsvRows(path).scan())[3:]
    assert isinstance(broken, RecordError)
    assert str(broken) == "2 fields under a header of 4"
    assert last == {"index": "4", "question": "Q?", "answer": "C"}


def test_an_empty_file_is_refused(tmp_path: Path):
    (tmp_path / "a.tsv").touch()
    with pytest.raises(RecordError, match="is empty"):
        TsvRows(tmp_path / "a.tsv")
