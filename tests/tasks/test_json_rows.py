"""Rules of reading a long JSON list by position."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.tasks import json_rows
from pixelreasoner.tasks.json_rows import JsonArrayRows

ROWS = [{"q": "naïve 🟥 ]", "n": [1, [2]]}, {"q": 'quote " and {brace'}, {}, {"q": "last"}]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rows.json"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("block", [1, 7, 2**18])
def test_rows_are_those_of_json(tmp_path: Path, monkeypatch, indent, escaped, block):
    """Whatever the file is read in: one byte at a time cuts characters and strings."""
    monkeypatch.setattr(json_rows, "BLOCK", block)
    path = written(tmp_path, json.dumps(ROWS, indent=indent, ensure_ascii=escaped))
    rows = JsonArrayRows(path)
    assert list(rows.scan()) == [(i, row) for i, row in enumerate(ROWS, start=1)]
    assert list(rows.read([4, 1, 1])) == [ROWS[3], ROWS[0], ROWS[0]]


def test_the_list_may_be_the_value_of_a_key_and_begin_with_a_mark(tmp_path: Path):
    text = json.dumps({"dataset_name": "naïve", "data": ROWS, "after": 1}, ensure_ascii=False)
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8-sig")
    rows = JsonArrayRows(path)
    assert [row for _, row in rows.scan()] == ROWS
    assert list(rows.read([2])) == [ROWS[1]]


@pytest.mark.parametrize("text", ["", "{}", '{"rows": []}', "3", "PAR1"])
def test_a_file_without_a_list_is_refused(tmp_path: Path, text):
    with pytest.raises(RecordError, match="holds no list of rows"):
        JsonArrayRows(written(tmp_path, text))


@pytest.mark.parametrize(
    ("end", "reason"),
    [("", "cut short"), (', {"q"', "not JSON"), (', {"q": }, {}]', "not JSON"), (', "caf', "not JSON")],
)
def test_what_comes_after_a_broken_row_is_one_error(tmp_path: Path, end, reason):
    *good, (number, last) = JsonArrayRows(written(tmp_path, '[{"q": 1}' + end)).scan()
    assert good == [(1, {"q": 1})]
    assert number == 2
    assert isinstance(last, RecordError)
    assert reason in str(last)


def test_an_empty_list_has_no_rows(tmp_path: Path):
    assert list(JsonArrayRows(written(tmp_path, "[ ]")).scan()) == []
