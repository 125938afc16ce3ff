"""Rows of several files, and rows that stand for several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.tasks.datasets.data_files import FILE_COLUMN, MAX_PARTS, FilesRows, RowForm


def two_files(folder: Path) -> list[Path]:
    """Three rows of 2, 0 and 3 parts in the first file, one row of 1 part in the second."""
    paths = [folder / "a.jsonl", folder / "b.jsonl"]
    for path, rows in zip(paths, ([[1, 2], [], [3, 4, 5]], [[6]]), strict=True):
        path.write_text("".join(json.dumps({"parts": row}) + "\n" for row in rows))
    return paths


def parts_of(row) -> list[dict]:
    return [{"n": n} for n in row["parts"]]


def test_the_parts_of_rows_are_numbered_and_read_in_any_order(tmp_path: Path):
    rows = FilesRows(two_files(tmp_path), RowForm(("parts",), expand=parts_of))
    scanned = list(rows.scan())
    assert [values["n"] for _, values in scanned] == [1, 2, 3, 4, 5, 6]
    numbers = [number for number, _ in scanned]
    assert [rows.name(n) for n in numbers] == ["1-1-1", "1-1-2", "1-3-1", "1-3-2", "1-3-3", "2-1-1"]
    assert rows.place(numbers[3]) == "a.jsonl, line 3, part 2"
    for order in ([5, 0, 4], [3, 2, 0, 1], [1, 5, 1]):
        assert [row["n"] for row in rows.read([numbers[i] for i in order])] == [i + 1 for i in order]


def test_rows_that_stand_for_themselves_have_the_names_of_old(tmp_path: Path):
    rows = FilesRows(two_files(tmp_path), RowForm(("parts", FILE_COLUMN)))
    numbers = [number for number, _ in rows.scan()]
    assert [rows.name(n) for n in numbers] == ["1-1", "1-2", "1-3", "2-1"]
    (last,) = rows.read(numbers[3:])
    assert last == {"parts": [6], FILE_COLUMN: str(tmp_path / "b.jsonl")}


def test_a_row_of_too_many_parts_is_one_that_cannot_be_read(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"parts": list(range(MAX_PARTS))}) + "\n")
    ((_, found),) = FilesRows([path], RowForm(("parts",), expand=parts_of)).scan()
    assert isinstance(found, RecordError)
    assert str(found) == "the row stands for 1024 tasks; 1023 are the most"


def test_a_file_that_is_one_row(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('{"q": 1}')
    rows = FilesRows([path], RowForm((), objects=True))
    ((number, row),) = rows.scan()
    assert row == next(iter(rows.read([number]))) == {"q": 1}
    with pytest.raises(RecordError, match="holds no list of rows"):
        FilesRows([path], RowForm(()))


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    with pytest.raises(RecordError, match=r"ends in one of \.json, \.jsonl, \.tsv, \.parquet"):
        FilesRows([tmp_path / "a.csv"], RowForm(()))
