"""Task files in Parquet, through pyarrow (extra `data`).

A Parquet file is read in row groups. Rows taken in ascending order are read once; a row taken out of order
costs the part of its group before it, so that files written here have small groups. No file stays open, and
no group stays in memory, between calls.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from pixelreasoner.core.errors import MissingExtraError, RecordError
from pixelreasoner.tasks.rows import TaskRow

GROUP_ROWS = 16
"""Rows of a group of the files written here."""
BATCH_ROWS = 16
"""Rows in memory at one time while a group is read."""
MEDIA_FIELDS = ("images", "video", "media")


class ParquetRows:
    """The rows of a Parquet file; numbers count from 1.

    Raises:
        RecordError: it is no Parquet file.
        MissingExtraError: pyarrow is not installed.
    """

    row_noun = "row"

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, str],
        *,
        embedded: object = None,
        large: Collection[str] = (),
    ) -> None:
        """Read how many rows there are.

        Args:
            path: of the file.
            columns: our field -> its column; only these are read. Empty: all.
            embedded: what `scan` gives for a value whose column holds contents of files, in place of reading
                them; None leaves the columns of media out, whatever they hold.
            large: columns that hold such contents as text, in base64.
        """
        self._path, self._columns, self._embedded, self._large = path, columns, embedded, frozenset(large)
        self._starts = array("q", [0])
        """The number of rows before each row group, and in all."""
        with self._opened() as file:
            for group in range(file.metadata.num_row_groups):
                self._starts.append(self._starts[-1] + file.metadata.row_group(group).num_rows)

    @property
    def n_rows(self) -> int:
        return self._starts[-1]

    def scan(self) -> Iterator[tuple[int, object]]:
        with _readable(self._path), self._opened() as file:
            wanted = self._wanted(file)
            unread = self._media_columns() if self._embedded is None else _binary_columns(file) | self._large
            names = [n for n in wanted if n not in unread]
            given = {} if self._embedded is None else {n: self._embedded for n in wanted if n in unread}
            number = 0
            for batch in file.iter_batches(batch_size=1024, columns=names):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {**row, **given}

    def read(self, numbers: Iterable[int]) -> Iterator[object]:
        with _readable(self._path), self._opened() as file:
            names = self._wanted(file)
            rows: Iterator[object] = iter(())
            group, next_row = -1, 0
            for at in (number - 1 for number in numbers):
                here = bisect_right(self._starts, at) - 1
                if here != group or at < next_row:
                    group, next_row = here, self._starts[here]
                    rows = _rows(file, group, names)
                yield next(islice(rows, at - next_row, None))
                next_row = at + 1

    def _wanted(self, file: Any) -> list[str]:
        """The columns to read: with a mapping, those it names."""
        present = file.schema_arrow.names
        return [name for name in present if not self._columns or name in self._columns.values()]

    def _media_columns(self) -> set[str]:
        return {self._columns.get(name, name) for name in MEDIA_FIELDS}

    def _opened(self) -> Any:
        with _readable(self._path):
            # A group may be larger than memory.
            return _pyarrow().parquet.ParquetFile(self._path, pre_buffer=False)


@contextmanager
def _readable(path: Path) -> Generator[None]:
    """Errors of a damaged file, whenever they are met, with its name and a remedy."""
    try:
        yield
    except (OSError, _pyarrow().ArrowException) as e:
        said = " ".join(str(e).split())
        raise RecordError(f"{path} is no readable Parquet file ({said}); write or fetch it again") from e


def _binary_columns(file: Any) -> set[str]:
    """The columns that hold bytes, in lists and structs too."""
    types = _pyarrow().types

    def is_binary(kind: Any) -> bool:
        if types.is_binary(kind) or types.is_large_binary(kind):
            return True
        return any(is_binary(kind.field(i).type) for i in range(kind.num_fields))

    return {field.name for field in file.schema_arrow if is_binary(field.type)}


def _rows(file: Any, group: int, names: list[str]) -> Iterator[object]:
    for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], columns=names):
        yield from batch.to_pylist()


def write_rows(file: IO[bytes], rows: Iterable[dict[str, Any]]) -> int:
    """Write rows, a few at a time; how many there were."""
    pa = _pyarrow()
    schema, n = _schema(pa), 0
    rows = iter(rows)
    with pa.parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, GROUP_ROWS)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=GROUP_ROWS)
            n += len(group)
    return n


def _schema(pa: Any) -> Any:
    """A column for each field of a row; images as the library `datasets` writes them."""
    text, texts = pa.string(), pa.list_(pa.string())
    image = pa.struct([("bytes", pa.binary()), ("path", text)])
    video = pa.struct([("frames", pa.list_(image)), ("times_s", pa.list_(pa.float64()))])
    numbers, ints = pa.list_(pa.float64()), pa.list_(pa.int64())
    boxes, place = pa.list_(numbers), [("unit", text), ("frames", ints), ("target", pa.int64())]
    cue = pa.struct([("box", numbers), *place, ("boxes", boxes)])
    columns = {
        "id": text, "question": text, "answers": texts, "kind": text,
        "images": pa.list_(image), "video": video,
        "media": pa.list_(pa.struct([("image", image), ("video", video)])),
        "cue": cue, "needs_operation": pa.bool_(), "options": texts, "scorer": text,
        "subject": text, "claim": text, "split": text,
    }  # fmt: skip
    assert columns.keys() == TaskRow.model_fields.keys()
    return pa.schema(list(columns.items()))


def _pyarrow() -> Any:
    return import_pyarrow("A Parquet file of tasks")


def import_pyarrow(what: str) -> Any:
    """The module `pyarrow`, with `pyarrow.parquet` in it.

    Args:
        what: needs it, as the message begins.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as e:
        raise MissingExtraError("pyarrow", "data", what) from e
    return pyarrow
