"""The files of a data set: a folder, or the same files on the hub, in JSON, JSON lines, TSV or Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.hub import HUB_ID, fetched
from pixelreasoner.tasks.datasets.media_store import EMBEDDED
from pixelreasoner.tasks.files import JsonlRows, Rows
from pixelreasoner.tasks.json_rows import JsonArrayRows, JsonObjectRow
from pixelreasoner.tasks.tsv_rows import TsvRows

FILE_COLUMN = "_file"
"""The column in which a row has the path of its file, where a reader names it among its columns."""
MAX_PARTS = 2**10
"""The most rows that a row of a file may stand for, less one."""
_FILE = 2**46
"""A row's number is that in its file times `MAX_PARTS`, plus its part, plus this for each file before."""
SUFFIXES = (".json", ".jsonl", ".tsv", ".parquet")


@dataclass(frozen=True)
class RowForm:
    """How the rows of a data set lie in its files."""

    columns: tuple[str, ...]
    """Those that are read of a Parquet file, where it has them."""
    large: tuple[str, ...] = ()
    """Columns of pictures in base64, which are not looked at before a task is taken."""
    objects: bool = False
    """Whether each JSON file is one row, and no list of rows."""
    expand: Callable[[Mapping[str, Any]], Sequence[Mapping[str, Any]]] | None = None
    """From a row of a file to the rows it stands for; None where it stands for itself."""
    measured: str = ""
    """A column of pictures whose sizes are known when the rows are looked at: a picture in a Parquet file is
    then `{embedded, size: (width, height)}`, 0 and 0 where it cannot be read."""


def dataset_folder(path: str, hub_files: Sequence[str], noun: str) -> Path:
    """The folder or the file that a path names, or the files of a data set of the hub.

    Args:
        path: a folder, a file, or `owner/name`.
        hub_files: patterns of what is fetched.
        noun: the data set's name, for messages.

    Raises:
        ConfigError: the path is empty.
        RecordError: there is nothing there, and nothing of that name on the hub.
    """
    if not path:
        raise ConfigError(
            f"{noun} is not fetched by itself; give its folder: tasks.options.path, or benchmark_options.path"
        )
    if Path(path).exists():
        return Path(path)
    if HUB_ID.fullmatch(path):
        return fetched(path, hub_files, kind="dataset", noun=f"data set ({noun})", error=RecordError)
    raise RecordError(
        f"{path} does not exist; give the folder of {noun}, one of its files, "
        f"or its name on the hub (owner/name)"
    )


def find_files(place: Path, patterns: Sequence[str], split: str, noun: str) -> tuple[Path, ...]:
    """The files that hold the rows of a split: those of the first pattern that any file fits.

    Args:
        place: a folder, or the one file to read.
        patterns: under the folder; `{split}` stands for the split.
        split: whose rows are wanted.
        noun: the data set's name, for messages.

    Raises:
        RecordError: there are none.
    """
    if place.is_file():
        return (place,)
    names = [pattern.format(split=split) for pattern in patterns]
    for name in names:
        if found := sorted(place.glob(name)):
            return tuple(found)
    raise RecordError(f"{place} holds no file of {noun}; looked for: {', '.join(names)}")


class FilesRows:
    """The rows of several files, one after the other."""

    def __init__(self, paths: Sequence[Path], form: RowForm) -> None:
        """Open none of them for longer than it takes.

        Args:
            paths: end in one of `SUFFIXES`.
            form: what they hold.

        Raises:
            RecordError: one is another kind of file, or cannot be read.
            MissingExtraError: one is a Parquet file, and pyarrow is not installed.
        """
        self._paths, self._form = tuple(paths), form
        self._files = [_rows_of(path, form) for path in paths]

    def scan(self) -> Iterator[tuple[int, object]]:
        """As `Rows.scan`; a file that cannot be read is an error."""
        for at, rows in enumerate(self._files):
            for number, values in self._measured(at, rows.scan()):
                for part, row in enumerate(self._parts(at, values)):
                    yield at * _FILE + number * MAX_PARTS + part, row

    def read(self, numbers: Iterable[int]) -> Iterator[object]:
        """The whole values of some rows."""
        for at, group in groupby(map(_places, numbers), key=lambda place: place[0]):
            wanted = [(row, part) for _, row, part in group]
            values = self._files[at].read(row for row, _ in groupby(row for row, _ in wanted))
            for _, places in groupby(wanted, key=lambda place: place[0]):
                parts = self._parts(at, next(iter(values)))
                yield from (parts[part] for _, part in places)

    def name(self, number: int) -> str:
        """What tells a row from all others: its number, after that of its file where there are several."""
        at, row, part = _places(number)
        name = f"{row}" if len(self._files) == 1 else f"{at + 1}-{row}"
        return name if self._form.expand is None else f"{name}-{part + 1}"

    def place(self, number: int) -> str:
        """Where a row is, for a message."""
        at, row, part = _places(number)
        within = "" if self._form.expand is None else f", part {part + 1}"
        return f"{self._paths[at].name}, {self._files[at].row_noun} {row}{within}"

    def _measured(self, at: int, rows: Iterator[tuple[int, object]]) -> Iterator[tuple[int, object]]:
        """The rows of a file, with the sizes of the pictures that are in it."""
        column, sizes = self._form.measured, None
        for number, values in rows:
            row = cast(Mapping[str, Any], values) if column and isinstance(values, Mapping) else {}
            if row.get(column) == EMBEDDED:
                from pixelreasoner.tasks.datasets.picture_sizes import picture_sizes

                sizes = picture_sizes(self._paths[at], column) if sizes is None else sizes
                width, height = sizes[number - 1].tolist()
                values = {**row, column: {**EMBEDDED, "size": (width, height)}}
            yield number, values

    def _parts(self, at: int, values: object) -> Sequence[object]:
        """The rows that a row of a file stands for."""
        if not isinstance(values, Mapping):
            return [values]
        row = cast(Mapping[str, Any], values)
        if FILE_COLUMN in self._form.columns:
            row = {**row, FILE_COLUMN: str(self._paths[at])}
        if self._form.expand is None:
            return [row]
        try:
            parts = self._form.expand(row)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as e:
            return [RecordError(f"a field has another form than this data set's ({type(e).__name__}: {e})")]
        if len(parts) >= MAX_PARTS:
            return [RecordError(f"the row stands for {len(parts)} tasks; {MAX_PARTS - 1} are the most")]
        return parts


def _places(number: int) -> tuple[int, int, int]:
    """The file, the row and its part that a number stands for."""
    at, within = divmod(number, _FILE)
    row, part = divmod(within, MAX_PARTS)
    return at, row, part


def _rows_of(path: Path, form: RowForm) -> Rows:
    match path.suffix:
        case ".jsonl":
            return JsonlRows(path)
        case ".json":
            return JsonObjectRow(path) if form.objects else JsonArrayRows(path)
        case ".tsv":
            return TsvRows(path, embedded=EMBEDDED, large=form.large)
        case ".parquet":
            from pixelreasoner.tasks.parquet import ParquetRows

            columns = {name: name for name in form.columns}
            return ParquetRows(path, columns, embedded=EMBEDDED, large=form.large)
        case _:
            raise RecordError(f"{path}: a file of rows ends in one of {', '.join(SUFFIXES)}")


def check_split(split: str, splits: Sequence[str], noun: str) -> None:
    """Check that a data set has a split.

    Raises:
        ConfigError: it has not.
    """
    if split not in splits:
        raise ConfigError(f"{noun} has no split '{split}'; tasks.split is one of {', '.join(splits)}")
