"""Task files: JSON lines and Parquet, read by position and written whole.

`open_task_file` reads a file once for its index: kinds, splits, where each row lies. What a row holds is
checked then; media are read when a task is taken, and dropped with it. In memory a row costs some thirty
bytes. The fields of a row are described in `tasks.rows`. A JSONL file may also hold tasks of our own records
(schema `pixelreasoner.task/N`).
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

from pixelreasoner.core.errors import ConfigError, MediaError, RecordError
from pixelreasoner.core.files import replacing, writing
from pixelreasoner.core.media import Picture, decode
from pixelreasoner.core.media_io import N_FRAMES, encoded
from pixelreasoner.core.media_refs import MEDIA_FOLDER
from pixelreasoner.core.records import MediaFolder, not_json, task_from_json
from pixelreasoner.core.task import Task
from pixelreasoner.rewards.scorers import check_scorer
from pixelreasoner.tasks.rows import SEEDS_ARE_FOR, parse_row, row_of
from pixelreasoner.tasks.source import IndexedTasks, TaskLabel

SUFFIXES = (".jsonl", ".parquet")
DEFAULT_SPLIT = "test"
UNREADABLE = "unreadable"
"""The kind of a row that cannot be read, in an index that tolerates such rows."""


class Rows(Protocol):
    """The rows of a file, as the values they hold."""

    @property
    def row_noun(self) -> str:
        """What a row is called in messages: "line" or "row"."""
        ...

    def scan(self) -> Iterator[tuple[int, object]]:
        """Every row that is not blank: its number from 1, and its values without its media.

        A row that cannot be read gives a RecordError in place of its values.
        """
        ...

    def read(self, numbers: Iterable[int]) -> Iterator[object]:
        """The whole values of some rows."""
        ...


@dataclass(frozen=True)
class FileTasks:
    """Makes tasks from the rows of a file; what `IndexedTasks` reads from. Holds no open file."""

    path: Path
    rows: Rows
    split: str
    columns: Mapping[str, str]
    n_frames: int
    numbers: array[int]
    """Of the rows that belong to the split."""

    def __call__(self, positions: Iterable[int]) -> Iterator[Task]:
        numbers = [self.numbers[at] for at in positions]
        for number, data in zip(numbers, self.rows.read(numbers), strict=True):
            yield self.task(number, data)

    def task(self, number: int, data: object) -> Task:
        """The task of a row.

        Raises:
            RecordError: the file, the row and the field are named.
        """
        try:
            if isinstance(data, RecordError):
                raise data
            if is_record(data):
                _check_scorer_of(cast(Mapping[str, Any], data))
                media = MediaFolder(self.path.parent / "media")
                task = task_from_json(cast(Mapping[str, Any], data), media.get)
                decode(task.media)  # as the images of other rows are, whose readers see that they are whole
                return task
            return parse_row(data, columns=self.columns, seeds=True).task(
                default_id=f"{self.path.stem}-{number}",
                split=self.split,
                folder=self.path.parent,
                n_frames=self.n_frames,
            )
        except (RecordError, MediaError) as e:
            raise RecordError(f"{self.path}, {self.rows.row_noun} {number}: {e}") from e


def open_task_file(
    path: str | Path,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    n_frames: int = N_FRAMES,
    tolerant: bool = False,
    seeds: bool = False,
) -> IndexedTasks:
    """The tasks of a file, as a source.

    Args:
        path: ends in .jsonl or .parquet.
        split: only rows of it, and rows that name none; None is all rows.
        columns: for a file of somebody else's, our field -> its column.
        n_frames: frames taken from each video file.
        tolerant: keep a row that cannot be read; its mistake shows when it is taken.
        seeds: whether rows may be without a question (`Task.is_seed`).

    Raises:
        RecordError: the file is not there or no task file, a row is wrong (row and field are named), or it
            holds no task of the split.
        MissingExtraError: it is a Parquet file, and pyarrow is not installed.
    """
    path = Path(path)
    rows = _rows_of(path, columns or {})
    reader = FileTasks(path, rows, split or DEFAULT_SPLIT, columns or {}, n_frames, array("q"))
    labels: list[TaskLabel] = []
    splits: set[str] = set()
    for number, data in rows.scan():
        try:
            row = _header(data, columns or {}, seeds=seeds)
        except RecordError as e:
            if not tolerant:
                raise RecordError(f"{path}, {rows.row_noun} {number}: {e}") from e
            row = TaskLabel(UNREADABLE), ""
        label, row_split = row
        splits.add(row_split)
        if split is None or row_split in ("", split):
            labels.append(label)
            reader.numbers.append(number)
    if not labels:
        raise RecordError(
            f"{path} holds no task of the split '{split}'; its splits are {', '.join(sorted(splits))}"
            if splits
            else f"{path} holds no tasks"
        )
    return IndexedTasks(labels, reader)


def is_record(data: object) -> bool:
    """Whether a row is a task of our own record files."""
    return isinstance(data, Mapping) and "schema" in data


def _header(data: object, columns: Mapping[str, str], *, seeds: bool) -> tuple[TaskLabel, str]:
    """What the index keeps of a row, and its split; the whole row is checked."""
    if isinstance(data, RecordError):
        raise data
    if is_record(data):
        record = cast(Mapping[str, Any], data)
        # The rest is checked by its reader; its media are looked up when it is read.
        schema, needs, kind = record["schema"], record.get("needs_operation"), record.get("kind", "open")
        if not str(schema).startswith("pixelreasoner.task/"):
            raise RecordError(f"this is {schema!r}, and no task")
        if needs not in (None, False, True) or not isinstance(kind, str):
            raise RecordError("kind is a text, and needs_operation true or false")
        _check_scorer_of(record)
        is_seed = record.get("question") == ""
        if is_seed and not seeds:
            raise RecordError(f"question: is empty; {SEEDS_ARE_FOR}")
        return TaskLabel(kind, needs, is_seed), str(record.get("split", DEFAULT_SPLIT))
    row = parse_row(data, columns=columns, seeds=seeds)
    return TaskLabel(row.kind, row.needs_operation, not row.question.strip()), row.split


def _check_scorer_of(record: Mapping[str, Any]) -> None:
    """Refuse a record that names a scorer that is not there."""
    if name := record.get("scorer", ""):
        try:
            check_scorer(str(name))
        except ConfigError as e:
            raise RecordError(f"scorer: {e}") from e


def _rows_of(path: Path, columns: Mapping[str, str]) -> Rows:
    if path.suffix not in SUFFIXES:
        raise RecordError(f"{path}: a task file ends in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise RecordError(f"{path} does not exist or is not a file; check the path")
    if path.suffix == ".parquet":
        from pixelreasoner.tasks.parquet import ParquetRows

        return ParquetRows(path, dict(columns))
    return JsonlRows(path)


class JsonlRows:
    """The lines of a JSONL file; a row's number is its line's."""

    row_noun = "line"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts = array("q")
        """Where each line starts, in bytes; filled by `scan`."""

    def scan(self) -> Iterator[tuple[int, object]]:
        self._starts, start = array("q"), 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                self._starts.append(start)
                start += len(line)
                if line.strip():
                    yield number, _json(line)

    def read(self, numbers: Iterable[int]) -> Iterator[object]:
        with self._path.open("rb") as file:
            for number in numbers:
                file.seek(self._starts[number - 1])
                yield _json(file.readline())


def _json(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError as e:
        return RecordError(not_json(e))


# --------------------------------------------------------------------------------------------- writing


def write_task_file(path: str | Path, tasks: Iterable[Task]) -> int:
    """Write tasks to a file that `open_task_file` reads back equal; how many there were.

    JSONL keeps pictures in `media/` beside it, Parquet within; those that came from PNG, JPEG or WebP files
    as they are, others as PNG. The file appears whole at the end or not at all; tasks are taken one by one.

    Raises:
        RecordError: the path has another suffix or cannot be written to, or a task could not be read back:
            one with an empty answer.
        MissingExtraError: it is a Parquet file, and pyarrow is not installed.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise RecordError(f"{path}: a task file ends in {' or '.join(SUFFIXES)}")
    with replacing(path) as file:
        if path.suffix == ".parquet":
            from pixelreasoner.tasks.parquet import write_rows

            with writing(path):
                return write_rows(file, _written(tasks, _embedded))
        return _write_lines(file, tasks, path)


def _write_lines(file: IO[bytes], tasks: Iterable[Task], path: Path) -> int:
    media = MediaFolder(path.parent / MEDIA_FOLDER)

    def put(picture: Picture) -> str:
        media.put(picture)
        return f"{MEDIA_FOLDER}/{media.file_name(picture)}"

    n = 0
    for row in _written(tasks, put):
        with writing(path):
            # Half of a surrogate pair is no character; JSON can hold one all the same.
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode(errors="surrogatepass"))
        n += 1
    return n


def _written(tasks: Iterable[Task], put: Callable[[Picture], Any]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        row = row_of(task, put)
        try:
            parse_row(row, seeds=True)
        except RecordError as e:
            raise RecordError(f"task {task.id} cannot be written: {e}") from e
        yield row


def _embedded(picture: Picture) -> dict[str, bytes]:
    return {"bytes": encoded(picture)}
