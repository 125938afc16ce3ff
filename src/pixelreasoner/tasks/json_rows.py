"""The rows of a JSON file that is one long list, read by position, one row in memory at a time.

The list is the file's value, or the value of a key of the object that is (`"data"` in the files of DocVQA).
"""

from __future__ import annotations

import codecs
import json
import re
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.records import not_json

BLOCK = 2**18
"""Bytes read at a time."""
MAX_ROW_BYTES = 2**26
"""A longer row is refused: it is a bracket that is never closed, most likely."""
HEADER_BYTES = 2**16
"""How far from the start of the file the list must begin."""

_DECODER = json.JSONDecoder()
_BETWEEN = re.compile(r"[\s,]*")
_LIST = re.compile(r"\s*\[")


class JsonArrayRows:
    """The elements of a list; a row's number is its place, from 1.

    Raises:
        RecordError: the file holds no list where one is looked for.
    """

    row_noun = "row"

    def __init__(self, path: Path, *, key: str = "data") -> None:
        """Find where the list begins.

        Args:
            path: a file of JSON in UTF-8.
            key: whose value is the list, where the file's value is an object.
        """
        self._path = path
        self._first = _list_start(path, key)
        self._starts, self._ends = array("q"), array("q")
        """Where each row lies, in bytes; filled by `scan`."""

    def scan(self) -> Iterator[tuple[int, object]]:
        self._starts, self._ends = array("q"), array("q")
        with self._path.open("rb") as file:
            file.seek(self._first)
            for number, (start, end, value) in enumerate(_elements(file, self._first), start=1):
                self._starts.append(start)
                self._ends.append(end)
                yield number, value

    def read(self, numbers: Iterable[int]) -> Iterator[object]:
        with self._path.open("rb") as file:
            for number in numbers:
                start, end = self._starts[number - 1], self._ends[number - 1]
                file.seek(start)
                yield _parsed(file.read(end - start))


class JsonObjectRow:
    """The one row of a JSON file whose value is an object."""

    row_noun = "row"

    def __init__(self, path: Path) -> None:
        self._path = path

    def scan(self) -> Iterator[tuple[int, object]]:
        yield 1, _parsed(self._path.read_bytes())

    def read(self, numbers: Iterable[int]) -> Iterator[object]:
        for _ in numbers:
            yield _parsed(self._path.read_bytes())


def _list_start(path: Path, key: str) -> int:
    """The byte after the opening bracket of the list."""
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    text = head.decode("utf-8-sig", errors="replace")
    found = _LIST.match(text) or re.match(rf'\s*\{{.*?"{re.escape(key)}"\s*:\s*\[', text, re.DOTALL)
    if found is None:
        raise RecordError(f"{path} holds no list of rows, and no object whose '{key}' is one")
    mark = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    return mark + len(found[0].encode())


def _elements(file: IO[bytes], at: int) -> Iterator[tuple[int, int, object]]:
    """Start, end and value of each element; a broken one is the last, and a RecordError."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    text, size, ended = "", BLOCK, False
    while True:
        blank = _BETWEEN.match(text)
        assert blank is not None
        if blank.end():
            at += len(text[: blank.end()].encode())
            text = text[blank.end() :]
        if text.startswith("]"):
            return
        found = _decoded(text, ended=ended)
        if isinstance(found, tuple):
            value, length = found
            end = at + len(text[:length].encode())
            yield at, end, value
            at, text, size = end, text[length:], BLOCK
            continue
        if ended or len(text) > MAX_ROW_BYTES:
            yield at, at, RecordError(not_json(found) if text.strip() else "the list is cut short")
            return
        block = file.read(size)
        # Twice as much each time: a long row is parsed again a few times only.
        size, ended = size * 2, not block
        try:
            text += decoder.decode(block, final=ended)
        except UnicodeDecodeError as e:
            yield at, at, RecordError(f"not UTF-8 ({e.reason})")
            return


def _decoded(text: str, *, ended: bool) -> tuple[object, int] | ValueError:
    """The value that a text begins with and its length in characters; an error where it may not be whole."""
    try:
        value, length = _DECODER.raw_decode(text)
    except ValueError as e:
        return e
    # A number or a word at the end of what was read may go on.
    return (value, length) if ended or length < len(text) else ValueError("the row is cut short")


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError as e:
        return RecordError(not_json(e))
