"""What may be checked for overlap: task sources, files, folders, recipes, benchmarks, records, images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pixelreasoner.core.errors import MediaError, RecordError
from pixelreasoner.core.image_files import open_image
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.run_folder import TRAJECTORIES_FILE
from pixelreasoner.core.task import Task
from pixelreasoner.evals.benchmark import named_benchmark
from pixelreasoner.tasks.datasets.media_folder import ROWS
from pixelreasoner.tasks.names import names_in, names_of
from pixelreasoner.tasks.preview import open_parts
from pixelreasoner.tasks.source import IndexedTasks, TaskSource

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".avif")
ENDLESS = 1000
"""Tasks that are taken of each part that has no end."""


@dataclass(frozen=True)
class Part:
    """Some of the tasks of a side, and how they are read."""

    size: int
    read: Callable[[int], Iterator[Task]]
    """The tasks from a position on."""
    names: Callable[[], dict[int, frozenset[str]]]
    """Position -> names, of tasks whose rows are at hand."""


@dataclass(frozen=True)
class Side:
    """One of the two things that are compared."""

    name: str
    parts: Sequence[Part]
    endless: bool = False
    """Whether only the first tasks of it are looked at."""

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def tasks(self) -> Iterator[tuple[Task, frozenset[str]]]:
        """Every task with its names, one at a time."""
        for part in self.parts:
            names = part.names()
            for at, task in enumerate(part.read(0)):
                yield task, names[at] if at in names else frozenset(names_of(task))

    def task(self, position: int) -> Task:
        """The task at a position, read again."""
        for part in self.parts:
            if position < part.size:
                return next(part.read(position))
            position -= part.size
        raise AssertionError(position)


def open_side(
    name: str, *, split: str | None = None, path: str | None = None, limit: int | None = None
) -> Side:
    """What a name stands for.

    Args:
        name: a task source, a task file, the folder or a file of a data set, a recipe (its tasks, or its
            benchmark), a registered benchmark, a file of trajectories or the folder of a run, or any folder
            of images.
        split: in place of the source's default.
        path: where a registered data set or benchmark lies.
        limit: at most so many tasks of each part; of one that never ends, `ENDLESS` when None.

    Raises:
        ConfigError: there is none of that name.
        RecordError: nothing can be read there.
    """
    place = Path(name)
    if (records := _records(place)) is not None:
        return Side(name, [_of_records(records, limit)])
    if (named := named_benchmark(name, path=path)) is not None:
        return Side(name, [_of_source(named, limit)], named.size is None)
    if place.is_dir() and (pictures := _pictures(place)):
        return Side(name, [_of_pictures(pictures[:limit])])
    parts = open_parts(name, split=split, path=path)
    return Side(name, [_of_source(p.source, limit) for p in parts], any(p.source.size is None for p in parts))


def _of_source(source: TaskSource, limit: int | None) -> Part:
    size = source.size if source.size is not None else ENDLESS if limit is None else limit
    n = size if limit is None else min(size, limit)

    def names() -> dict[int, frozenset[str]]:
        rows = source.rows() if isinstance(source, IndexedTasks) else ()
        return {at: frozenset(names_in(values)) for at, values in rows if at < n}

    return Part(n, lambda start: source.take(start, n - start), names)


def _of_records(path: Path, limit: int | None) -> Part:
    with path.open("rb") as file:
        n = sum(1 for line in file if line.strip())
    n = n if limit is None else min(n, limit)
    return Part(n, lambda start: (t.task for t in islice(read_trajectories(path), start, n)), dict)


def _of_pictures(paths: Sequence[Path]) -> Part:
    def read(start: int) -> Iterator[Task]:
        for path in paths[start:]:
            picture = open_image(path, str(path))
            if picture is None:
                raise MediaError(f"{path} is no image that can be read; remove it, or export it again")
            yield Task(str(path), "", (picture,), (), kind="image")

    return Part(len(paths), read, dict)


def _records(place: Path) -> Path | None:
    """The file of trajectories that a path means, if it means one."""
    path = place / TRAJECTORIES_FILE if place.is_dir() else place
    if path.suffix != ".jsonl" or not path.is_file():
        return None
    with path.open("rb") as file:
        line = file.readline()
    try:
        first = json.loads(line)
    except ValueError:
        return None
    schema = first.get("schema") if isinstance(first, dict) else None
    return path if str(schema).startswith("pixelreasoner.trajectory/") else None


def _pictures(folder: Path) -> list[Path]:
    """The images below a folder that holds nothing but media; empty where it holds rows of a data set."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if any(path.suffix.lower() in ROWS for path in files):
        return []
    found = [path for path in files if path.suffix.lower() in PICTURES]
    if files and not found:
        raise RecordError(f"{folder} holds neither rows of a data set nor images")
    return found
