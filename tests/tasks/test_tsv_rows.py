"""Rules of reading tab-separated values with pictures in base64."""

from __future__ import annotations

import base64
import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelreasoner.core.errors import RecordError
from pixelreasoner.tasks.tsv_rows import TsvRows

LARGE = base64.b64encode(bytes(range(256)) * 1200).decode()
"""Hundreds of thousands of characters."""
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
    rows = TsvRows(path)
    list(rows.scan())
    assert list(rows.read([3, 2, 1])) == [
        ROWS[2],
        {"index": "1", "image": LARGE, "question": "naïve 🟥"},
        ROWS[0],
    ]


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


def test_a_quote_that_is_never_closed_takes_the_rest_and_is_one_broken_row(path: Path):
    with path.open("a") as file:
        file.write('3\t\t"Q?\tC\n4\t\tQ?\tC\n')
    (_, broken) = list(TsvRows(path).scan())[-1]
    assert isinstance(broken, RecordError)
    assert str(broken) == f"{path}: a quote is never closed"


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8),
            min_size=2,
            max_size=2,
        )
    )
)
@settings(max_examples=60, deadline=None)
def test_fields_are_those_that_csv_writes(values: list[list[str]]):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.tsv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow(["one", "two"])
            writer.writerows(values)
        found = [row for _, row in TsvRows(path).scan()]
    # Lines of nothing but white space are no rows.
    expected = [{k: v for k, v in zip(("one", "two"), row, strict=True) if v} for row in values]
    assert [row for row in found if row] == [row for row in expected if row]
