"""The rows of a file of tab-separated values, with pictures in base64, read by position.

The form of VLMEvalKit's tables: a header, fields in double quotes where they hold a tab, a line break or a
quote. A field may hold tens of megabytes. Where `image` is not a picture but the `index` of another row, the
picture of that row is meant. Empty fields count as absent, and all others are texts.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from pixelreasoner.core.errors import RecordError

MAX_ROW_BYTES = 2**29
"""A longer row is refused: it is a quote that is never closed, most likely."""
MAX_REFERENCE = 64
"""Longer texts in the column `image` are pictures, as in VLMEvalKit."""


class TsvRows:
    """The rows under the header; a row's number counts from 1."""

    row_noun = "row"

    def __init__(self, path: Path, *, embedded: object = None, large: Collection[str] = ("image",)) -> None:
        """Read the header.

        Args:
            path: of the file, in UTF-8.
            embedded: what `scan` gives for a field of the columns `large` that holds anything.
            large: the columns of pictures.

        Raises:
            RecordError: there is no header.
        """
        self._path, self._embedded, self._large = path, embedded, frozenset(large)
        with path.open("rb") as file:
            head = next(_records(file), None)
        if head is None:
            raise RecordError(f"{path} is empty; fetch it again")
        self._header = _fields(head[1], path)
        self._first = head[0] + len(head[1])
        self._starts = array("q")
        """Where each row starts, in bytes; filled by `scan`."""
        self._row_of: dict[str, int] = {}
        """The number of the row with an index, where it holds a picture that another one refers to."""

    def scan(self) -> Iterator[tuple[int, object]]:
        self._starts, self._row_of = array("q"), {}
        with self._path.open("rb") as file:
            file.seek(self._first)
            for number, (start, content) in enumerate(_records(file), start=1):
                self._starts.append(start + self._first)
                row = self._row(content)
                if isinstance(row, RecordError):
                    yield number, row
                    continue
                if "index" in row and not _is_reference(row.get("image")):
                    self._row_of[str(row["index"])] = number
                yield number, {k: self._embedded if k in self._large else v for k, v in row.items()}

    def read(self, numbers: Iterable[int]) -> Iterator[object]:
        with self._path.open("rb") as file:
            for number in numbers:
                row = self._at(file, number)
                if not isinstance(row, RecordError) and _is_reference(at := row.get("image")):
                    other = self._at(file, self._row_of[at]) if at in self._row_of else {}
                    if not isinstance(other, RecordError) and "image" in other:
                        row = {**row, "image": other["image"]}
                yield row

    def _at(self, file: IO[bytes], number: int) -> Mapping[str, Any] | RecordError:
        file.seek(self._starts[number - 1])
        found = next(_records(file), None)
        return RecordError("the file was made shorter") if found is None else self._row(found[1])

    def _row(self, content: bytes) -> Mapping[str, Any] | RecordError:
        try:
            values = _fields(content, self._path)
        except RecordError as e:
            return e
        if len(values) != len(self._header):
            return RecordError(f"{len(values)} fields under a header of {len(self._header)}")
        return {name: value for name, value in zip(self._header, values, strict=True) if value != ""}


def _is_reference(value: object) -> bool:
    """Whether the field of a picture is the index of another row."""
    return isinstance(value, str) and len(value) <= MAX_REFERENCE


def _records(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Where each record starts, from where the file stands, and its bytes: lines until all quotes are closed.

    Raises:
        RecordError: one is longer than `MAX_ROW_BYTES`.
    """
    start, lines, size, quotes = 0, list[bytes](), 0, 0
    for line in file:
        lines.append(line)
        size += len(line)
        quotes += line.count(b'"')
        if size > MAX_ROW_BYTES:
            raise RecordError(f"a row is longer than {MAX_ROW_BYTES} bytes: a quote is never closed")
        if quotes % 2 == 0:
            content = lines[0] if len(lines) == 1 else b"".join(lines)  # a copy of megabytes less
            if not content.isspace():
                yield start, content
            start, lines, size, quotes = start + size, [], 0, 0
    if content := b"".join(lines).strip():
        yield start, content


def _fields(content: bytes, path: Path) -> list[str]:
    """The fields of a record."""
    try:
        pieces = content.decode("utf-8-sig").split("\t")
    except UnicodeDecodeError as e:
        raise RecordError(f"{path} is not UTF-8 ({e.reason})") from e
    pieces[-1] = pieces[-1].rstrip("\r\n")
    fields: list[str] = []
    held = None
    for piece in pieces:
        held = piece if held is None else f"{held}\t{piece}"
        if held.count('"') % 2 == 0:
            fields.append(_unquoted(held))
            held = None
    if held is not None:
        raise RecordError(f"{path}: a quote is never closed")
    return fields


def _unquoted(field: str) -> str:
    """What a field says; in one in double quotes, two of them stand for one."""
    quoted = len(field) > 1 and field.startswith('"') and field.endswith('"')
    return field[1:-1].replace('""', '"') if quoted else field
