"""From the rows of a data set to tasks: what all readers share.

A reader says where the rows are and what one of them means (`DatasetReader`); the rest is here. When a data
set is opened each row is looked at once: its answers are brought into form, its files are looked for. Rows of
which no task can be made are counted with their reasons (`LoadReport`) and are not among the tasks. Media are
read when a task is taken. In memory a row costs some thirty bytes.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from pixelreasoner.core.errors import MediaError, RecordError
from pixelreasoner.core.media_io import N_FRAMES
from pixelreasoner.core.task import Task
from pixelreasoner.tasks.datasets.answers import Answers
from pixelreasoner.tasks.datasets.data_files import (
    FilesRows,
    RowForm,
    check_split,
    dataset_folder,
    find_files,
)
from pixelreasoner.tasks.datasets.media_store import MediaStore
from pixelreasoner.tasks.datasets.report import LoadReport, UnusableError
from pixelreasoner.tasks.rows import parse_row
from pixelreasoner.tasks.source import IndexedTasks, TaskLabel

log = logging.getLogger(__name__)

NO_MEDIA = "no image or video"
_OF_ANOTHER_FORM = (TypeError, ValueError, KeyError, IndexError, AttributeError)
"""What reading a field raises that is a text where a list is, a number where an object is."""


@dataclass(frozen=True)
class NormalRow:
    """What a row of a data set means: fields of a task row (`tasks.rows`), and the form of its answers."""

    fields: Mapping[str, Any]
    """`images` a list, `video` a name or a list of frames; names of files as the data set has them."""
    form: str
    """As `Answers.form`."""


def normal_row(answers: Answers, **fields: Any) -> NormalRow:
    """A row with these references; fields that are empty are left out.

    Raises:
        UnusableError: it has neither an image nor a video.
    """
    if not fields.get("images") and not fields.get("video"):
        raise UnusableError(NO_MEDIA)
    values = {"answers": list(answers.values), "scorer": answers.scorer, **fields}
    return NormalRow({k: v for k, v in values.items() if v not in (None, "", [], ())}, answers.form)


Row = Mapping[str, Any]


def _unchanged(task: Task, row: Row) -> Task:
    return task


@dataclass(frozen=True)
class DatasetReader:
    """A data set: where its rows are, and what they mean."""

    name: str
    """As a registered task source."""
    splits: tuple[str, ...]
    files: tuple[str, ...]
    """Patterns of the files of rows, `{split}` in them; the first that any file fits counts."""
    columns: tuple[str, ...]
    """Those that are read. A folder is taken for one of this data set where its rows have the first three."""
    read: Callable[[Row], NormalRow]
    """What a row means. Of a picture in a table it sees that there is one, and not its content.

    Raises:
        UnusableError: no task can be made of it.
    """
    hub_files: tuple[str, ...] = ("*.json", "*.jsonl", "*.tsv", "*.parquet", "*.zip")
    """Patterns of what is fetched from the hub."""
    media_folders: tuple[str, ...] = ()
    """Folders in which pictures may lie whose rows name the file alone."""
    finish: Callable[[Task, Row], Task] = _unchanged
    """Adds what is known only once the media are there."""
    large: tuple[str, ...] = ()
    """As `RowForm.large`."""
    objects: bool = False
    """As `RowForm.objects`."""
    expand: Callable[[Row], Sequence[Row]] | None = None
    """As `RowForm.expand`; `read` and `finish` get the rows that a row of a file stands for."""

    measured: str = ""
    """As `RowForm.measured`."""

    @property
    def form(self) -> RowForm:
        return RowForm(self.columns, self.large, self.objects, self.expand, self.measured)

    def open(self, *, split: str, path: str, n_frames: int = N_FRAMES) -> DatasetTasks:
        """The usable tasks of the data set.

        Args:
            split: one of `splits`.
            path: its folder, one file of its rows, or its name on the hub.
            n_frames: taken from each video file.

        Raises:
            ConfigError: it has no such split, or no path is given.
            RecordError: there are no rows at the path, or none that can be used.
            MissingExtraError: they are in Parquet, and pyarrow is not installed.
        """
        check_split(split, self.splits, self.name)
        place = dataset_folder(path, self.hub_files, self.name)
        paths = find_files(place, self.files, split, self.name)
        folder = place if place.is_dir() else place.parent
        rows = FilesRows(paths, self.form)
        made = DatasetTasks(
            self, rows, MediaStore(folder, self.media_folders), split, n_frames, f"{self.name} ({path})"
        )
        if made.report.unusable:
            _say(made.report.summary)
        return made

    def fits(self, place: Path) -> bool:
        """Whether a folder, or a file, holds rows of this data set, by its first row."""
        for split in self.splits:
            try:
                rows = FilesRows(find_files(place, self.files, split, self.name), self.form)
            except RecordError:
                continue
            first = next((values for _, values in rows.scan()), None)
            return isinstance(first, Mapping) and set(self.columns[:3]) <= first.keys()
        return False


class DatasetTasks(IndexedTasks):
    """The usable tasks of a data set, and what was found when it was opened."""

    def __init__(
        self,
        reader: DatasetReader,
        rows: FilesRows,
        media: MediaStore,
        split: str,
        n_frames: int,
        noun: str,
    ) -> None:
        """Look at every row once.

        Raises:
            RecordError: none can be used.
        """
        self.report = LoadReport(noun)
        """The same for a selection of the tasks: of the whole data set."""
        numbers = array("q")
        labels: list[TaskLabel] = []
        for number, values in rows.scan():
            try:
                row = _normal(reader, values)
                media.check(row.fields)
                labels.append(_label(row))
            except UnusableError as e:
                self.report.leave_out(rows.place(number), e)
                continue
            self.report.use(row.form)
            numbers.append(number)
        if not numbers:
            reasons = list(self.report.lines()) or [
                "it has no row of what is asked for; check its files and options"
            ]
            raise RecordError("\n".join([f"{noun} has no usable row", *reasons]))
        super().__init__(labels, _Maker(reader, rows, media, split, n_frames, numbers))


@dataclass(frozen=True)
class _Maker:
    """Makes the tasks at some positions. Holds no open file."""

    reader: DatasetReader
    rows: FilesRows
    media: MediaStore
    split: str
    n_frames: int
    numbers: Sequence[int]

    def __call__(self, positions: Iterable[int]) -> Iterator[Task]:
        numbers = [self.numbers[at] for at in positions]
        for number, values in zip(numbers, self.rows.read(numbers), strict=True):
            try:
                yield self._task(number, values)
            except (RecordError, MediaError, UnusableError) as e:
                raise RecordError(f"{self.rows.place(number)}: {e}") from e

    def _task(self, number: int, values: object) -> Task:
        row = parse_row(self.media.filled(_normal(self.reader, values).fields))
        task = row.task(
            default_id=f"{self.reader.name}-{self.rows.name(number)}",
            split=self.split,
            folder=self.media.folder,
            n_frames=self.n_frames,
        )
        return self.reader.finish(task, cast(Row, values))


def _normal(reader: DatasetReader, values: object) -> NormalRow:
    if isinstance(values, RecordError):
        raise UnusableError("the row cannot be read", str(values))
    if not isinstance(values, Mapping):
        raise UnusableError("the row is no object with named fields")
    try:
        return reader.read(_without_nan(cast(Row, values)))
    except _OF_ANOTHER_FORM as e:
        raise UnusableError(
            "a field has another form than this data set's", f"{type(e).__name__}: {e}"
        ) from e


def _without_nan(values: Row) -> Row:
    """A row with None for NaN, by which pandas writes a field that holds nothing."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def _label(row: NormalRow) -> TaskLabel:
    """The label of a row that a task can be made of.

    Raises:
        UnusableError: a field holds what no task can.
    """
    try:
        parsed = parse_row(row.fields)
    except RecordError as e:
        raise UnusableError("a field cannot be used", str(e)) from e
    return TaskLabel(parsed.kind, parsed.needs_operation)


@lru_cache(maxsize=256)
def _say(line: str) -> None:
    """Say something of a data set, once; the processes that compose trajectories say nothing."""
    if multiprocessing.parent_process() is None:
        log.warning("%s", line)
