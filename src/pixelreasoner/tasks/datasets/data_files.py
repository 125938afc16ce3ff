"""The files of a data set: a folder, or the same files on the hub, in JSON, JSON lines or Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from pixelreasoner.core.errors import ConfigError, RecordError
from pixelreasoner.core.hub import HUB_ID, fetched
from pixelreasoner.tasks.datasets.media_store import EMBEDDED
from pixelreasoner.tasks.files import JsonlRows, Rows
from pixelreasoner.tasks.json_rows import JsonArrayRows

_FILE = 2**40
"""A row's number is its number in its file, plus this for each file before."""


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
        raise ConfigError(f"{noun} is not fetched by itself; give its folder: tasks.options.path")
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

    def __init__(self, paths: Sequence[Path], columns: Sequence[str]) -> None:
        """Open none of them for longer than it takes.

        Args:
            paths: end in .json, .jsonl or .parquet.
            columns: those that are read of a Parquet file, where it has them.

        Raises:
            RecordError: one is another kind of file, or cannot be read.
            MissingExtraError: one is a Parquet file, and pyarrow is not installed.
        """
        self._paths = tuple(paths)
        self._files = [_rows_of(path, columns) for path in paths]

    def scan(self) -> Iterator[tuple[int, object]]:
        """As `Rows.scan`; a file that cannot be read is an error."""
        for at, rows in enumerate(self._files):
            for number, values in rows.scan():
                yield at * _FILE + number, values

    def read(self, numbers: Iterable[int]) -> Iterator[object]:
        """The whole values of some rows."""
        for at, group in groupby(numbers, key=lambda number: number // _FILE):
            yield from self._files[at].read([number % _FILE for number in group])

    def name(self, number: int) -> str:
        """What tells a row from all others: its number, after that of its file where there are several."""
        at, row = divmod(number, _FILE)
        return f"{row}" if len(self._files) == 1 else f"{at + 1}-{row}"

    def place(self, number: int) -> str:
        """Where a row is, for a message."""
        at, row = divmod(number, _FILE)
        return f"{self._paths[at].name}, {self._files[at].row_noun} {row}"


def _rows_of(path: Path, columns: Sequence[str]) -> Rows:
    match path.suffix:
        case ".jsonl":
            return JsonlRows(path)
        case ".json":
            return JsonArrayRows(path)
        case ".parquet":
            from pixelreasoner.tasks.parquet import ParquetRows

            return ParquetRows(path, {name: name for name in columns}, embedded=EMBEDDED)
        case _:
            raise RecordError(f"{path}: a file of rows ends in .json, .jsonl or .parquet")


def check_split(split: str, splits: Sequence[str], noun: str) -> None:
    """Check that a data set has a split.

    Raises:
        ConfigError: it has not.
    """
    if split not in splits:
        raise ConfigError(f"{noun} has no split '{split}'; tasks.split is one of {', '.join(splits)}")
