"""Trajectories and tasks on disk: JSON lines, with the pictures beside them.

One record is one line; its pictures are PNG files in the folder `media/` next to it, named by their content,
so that a picture which occurs a thousand times is stored once::

    runs/today/rollouts.jsonl    {"schema": "pixelreasoner.trajectory/2", "task": {...}, "turns": [...], ...}
    runs/today/media/            5f0c...e1.png ...

A line mirrors the dataclasses of `core` field by field: a picture is its digest, a tuple is a list, and a
field at its default is left out. What was written comes back equal, floats to the last bit. (Arguments of a
call are JSON by nature: tuples put in them come back as lists.) NaN and infinities are written the way
Python's `json` does, as `NaN` and `Infinity`.
"""

from __future__ import annotations

import json
import os
import re
import types
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import IO, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from weakref import WeakValueDictionary

import numpy as np

from pixelreasoner.core.errors import MediaError, RecordError
from pixelreasoner.core.files import LineFile, replacing, writing
from pixelreasoner.core.image_files import SUFFIXES
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import keep_image, peek_image, suffix_of
from pixelreasoner.core.media_refs import MEDIA_FOLDER
from pixelreasoner.core.prefetch import prefetch
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory

SCHEMA_VERSION = 3
"""Rises when a line written before could no longer be read; a new field with a default does not count."""

_NAMES: Mapping[type, str] = {Trajectory: "pixelreasoner.trajectory", Task: "pixelreasoner.task"}
_LINE_START = b'{"schema": "pixelreasoner.'
_BLOCK = 2**16

Record = TypeVar("Record", Trajectory, Task)
GetPicture = Callable[[str], Picture]
"""From the digest of a picture to the picture."""
PREFETCHED_RECORDS = 8
"""Records read ahead of whoever takes them."""


@cache
def _threads() -> ThreadPoolExecutor:
    """What reads records and writes pictures: Pillow packs them outside the interpreter's lock."""
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="records")


class MediaFolder:
    """Pictures on disk, one file per content, named by the digest.

    A picture that came from a PNG, JPEG or WebP file is that file, byte for byte; any other is a PNG. While a
    picture that was read here is in use anywhere, reading it again gives the same object. It keeps the path:
    its pixels are decoded when they are looked at.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: WeakValueDictionary[str, Picture] = WeakValueDictionary()

    def put(self, *pictures: Picture) -> None:
        """Store pictures, several at a time, unless they are there already.

        Raises:
            MediaError: the folder cannot be written to, or the file of a picture is not there any more.
        """
        missing = {path: p for p in pictures if not (path := self.folder / self.file_name(p)).exists()}
        list(_threads().map(keep_image, missing.values(), missing))

    def file_name(self, picture: Picture) -> str:
        """What the file of a picture is called in this folder."""
        return f"{picture.digest}{suffix_of(picture)}"

    def get(self, digest: str) -> Picture:
        """The picture with this content.

        Reading the pixels raises a MediaError when the file holds others than its name says.

        Raises:
            MediaError: its file is missing, or its header damaged.
        """
        picture = self._read.get(digest)
        if picture is None:
            # A digest comes from a file, and becomes part of a path.
            if re.fullmatch(r"[0-9a-f]{32}", digest) is None:
                raise MediaError(f"'{digest}' is not the digest of a picture")
            picture = peek_image(self._path(digest), digest)
            # Another thread may have read it meanwhile: the first one stays.
            picture = self._read.setdefault(digest, picture)
        return picture

    def _path(self, digest: str) -> Path:
        paths = [self.folder / f"{digest}{suffix}" for suffix in dict.fromkeys(SUFFIXES.values())]
        return next((path for path in paths if path.exists()), paths[0])


# ---------------------------------------------------------------------------------------------- files


def write_trajectories(path: str | Path, trajectories: Iterable[Trajectory], *, append: bool = False) -> None:
    """Writes trajectories to a JSONL file, and their pictures to `media/` beside it.

    Without `append` the file appears whole at the end, or not at all. With it, lines are added as they come;
    a last line that an earlier writer was killed in is dropped first.

    Raises:
        RecordError: the place cannot be written to, or `append` to a file that does not hold records.
        MediaError: a picture cannot be written.
    """
    _write(Path(path), trajectories, append)


def write_tasks(path: str | Path, tasks: Iterable[Task], *, append: bool = False) -> None:
    """Writes tasks as `write_trajectories` writes trajectories."""
    _write(Path(path), tasks, append)


def read_trajectories(path: str | Path, *, tolerate_truncation: bool = False) -> Generator[Trajectory]:
    """The trajectories in a file, one at a time; equal pictures are one object. The file is open meanwhile.

    `tolerate_truncation` passes over a last line that its writer was killed in.

    Raises:
        RecordError: names the file, the line, and what is wrong there.
    """
    return _read(Path(path), Trajectory, tolerate_truncation)


def read_tasks(path: str | Path, *, tolerate_truncation: bool = False) -> Generator[Task]:
    """The tasks in a file, as `read_trajectories` reads trajectories."""
    return _read(Path(path), Task, tolerate_truncation)


def _write(path: Path, records: Iterable[Trajectory] | Iterable[Task], append: bool) -> None:
    media = MediaFolder(path.parent / MEDIA_FOLDER)
    if append:
        drop_cut_line(path)
        with LineFile.open(path) as lines:
            for line in _lines(records, media):
                lines.append(line)
            lines.sync()
        return
    with replacing(path) as file:
        for line in _lines(records, media):
            with writing(path):
                file.write(line)


def _lines(records: Iterable[Trajectory] | Iterable[Task], media: MediaFolder) -> Iterator[bytes]:
    return (record_line(record, media) for record in records)


def record_line(record: Trajectory | Task, media: MediaFolder) -> bytes:
    """The line of a record, its pictures written before: a line never names one that is not there.

    Raises:
        MediaError: a picture cannot be written.
    """
    pictures: list[Picture] = []
    line = json.dumps(_to_json(record, pictures.append))
    media.put(*pictures)
    return line.encode() + b"\n"


def drop_cut_line(path: Path) -> None:
    """Make a file end at the end of a line, as a killed writer may not have; one that is missing stays so.

    Raises:
        RecordError: it does not end like a file of records, or cannot be written.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    with writing(path), path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() == b"\n":
            return
        start = _last_line_start(file)
        file.seek(start)
        last = file.read()
        if not last.startswith(_LINE_START[: len(last)]):
            raise RecordError(f"{path} does not end like a file of records; give another path to append to")
        if is_json(last):
            file.write(b"\n")
        else:
            file.truncate(start)


def _last_line_start(file: IO[bytes]) -> int:
    """Where the last line of a file begins that does not end in a newline."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _read(path: Path, kind: type[Record], tolerate_truncation: bool) -> Generator[Record]:
    if not path.is_file():
        raise RecordError(f"{path} does not exist or is not a file; check the path")
    media = MediaFolder(path.parent / MEDIA_FOLDER)

    def read(numbered: tuple[int, bytes]) -> Record | None:
        """The record of a line; None for a blank one, or a cut one where that is tolerated."""
        number, line = numbered
        if not line.strip():
            return None
        if not line.endswith(b"\n") and not is_json(line):
            if tolerate_truncation:
                return None
            raise RecordError(
                f"{path}, line {number}: the line is cut short (its writer was stopped). "
                f"Read with tolerate_truncation=True to go without it"
            )
        try:
            return _from_json(json.loads(line), kind, media.get)
        except (json.JSONDecodeError, UnicodeDecodeError) as e:
            raise RecordError(f"{path}, line {number}: {not_json(e)}") from e
        except (RecordError, MediaError) as e:
            raise RecordError(f"{path}, line {number}: {e}") from e

    with path.open("rb") as file:
        lines = prefetch(_threads(), read, enumerate(file, start=1), ahead=PREFETCHED_RECORDS)
        with closing(lines) as records:
            yield from (record for record in records if record is not None)


def not_json(error: ValueError) -> str:
    """Why a line is not JSON. The line number within the line, which is always 1, is left out."""
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON ({error.msg} at character {error.pos + 1})"
    return f"not JSON ({error})"


def is_json(line: bytes) -> bool:
    """Whether a line is whole: one that its writer was killed in is not JSON."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


# ----------------------------------------------------------------------------------------- one record


def trajectory_to_json(
    trajectory: Trajectory, put: Callable[[Picture], object] = lambda picture: None
) -> dict[str, Any]:
    """A trajectory as JSON values, pictures by their digests; each picture is given to `put`."""
    return _to_json(trajectory, put)


def trajectory_from_json(data: Mapping[str, Any], get_picture: GetPicture) -> Trajectory:
    """The trajectory that `trajectory_to_json` was given.

    Raises:
        RecordError: it is no trajectory, or was written by another version; the place is named.
    """
    return _from_json(data, Trajectory, get_picture)


def task_to_json(task: Task) -> dict[str, Any]:
    """A task as JSON values, pictures by their digests."""
    return _to_json(task, lambda picture: None)


def task_from_json(data: Mapping[str, Any], get_picture: GetPicture) -> Task:
    """The task that `task_to_json` was given.

    Raises:
        RecordError: it is no task, or was written by another version; the place is named.
    """
    return _from_json(data, Task, get_picture)


def _to_json(record: Trajectory | Task, put: Callable[[Picture], object]) -> dict[str, Any]:
    return {"schema": f"{_NAMES[type(record)]}/{SCHEMA_VERSION}", **_encode(record, put)}


def _from_json(data: object, kind: type[Record], get_picture: GetPicture) -> Record:
    if not isinstance(data, Mapping):
        raise RecordError("a record is a JSON object")
    body = dict(cast(Mapping[str, Any], data))
    schema, expected = body.pop("schema", None), f"{_NAMES[kind]}/{SCHEMA_VERSION}"
    if schema in {f"{_NAMES[kind]}/{version}" for version in range(1, SCHEMA_VERSION)}:
        body, schema = _upgrade(body), expected
    if schema != expected:
        raise RecordError(
            f"this is {schema!r} where {expected!r} is needed; "
            f"check that it is the right file, and was written by this version of pixelreasoner"
        )
    return _decode_dataclass(kind, body, get_picture, kind.__name__.lower())


def _upgrade(body: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 1 or 2 in today's fields.

    1 had one weight version for all turns. Both masked whole messages: `learn` or `trainable` false.
    """
    version = body.pop("weight_version", None)
    for turn in body.get("turns", ()):
        if isinstance(turn, dict):
            fields_of = cast(dict[str, Any], turn)
            learned = fields_of.pop("learn", True) and fields_of.pop("trainable", True)
            if learned is False:
                fields_of["masked"] = [0, len(fields_of.get("text", ""))]
                if sampled := fields_of.get("sampled"):
                    sampled["masked"] = [0, len(sampled["ids"])]
            if version is not None and "sampled" in fields_of:
                fields_of["weight_version"] = version
    return body


# ------------------------------------------------------------------------------------- field by field


def _encode(value: Any, put: Callable[[Picture], object]) -> Any:
    if isinstance(value, Picture):
        put(value)
        return value.digest
    if is_dataclass(value):
        return {
            f.name: _encode(getattr(value, f.name), put)
            for f in fields(value)
            if not _is_default(f, getattr(value, f.name))
        }
    if isinstance(value, Mapping):
        return {key: _encode(item, put) for key, item in cast(Mapping[str, Any], value).items()}
    if isinstance(value, (list, tuple)):
        items = cast(tuple[Any, ...], value)
        # Token ids and log-probabilities are most of a record; one look at their types is enough.
        if {type(item) for item in items} <= {int, float}:
            return list(items)
        return [_encode(item, put) for item in items]
    if isinstance(value, np.generic):  # a box of a user's source may hold numbers of numpy
        return cast("np.generic[Any]", value).item()
    return str(value) if isinstance(value, StrEnum) else value


def _is_default(f: Field[Any], value: Any) -> bool:
    default = f.default if f.default_factory is MISSING else f.default_factory()
    return type(value) is type(default) and value == default


def _decode(hint: Any, value: Any, get_picture: GetPicture, place: str) -> Any:
    """`value` as the type of a field; `place` is where it stands in the record, for messages."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _decode(_choose(arguments, value), value, get_picture, place)
    if hint is Picture:
        return get_picture(_checked(value, str, place))
    if is_dataclass(hint):
        return _decode_dataclass(cast(type[Any], hint), value, get_picture, place)
    if origin is tuple:
        return _decode_tuple(arguments, value, get_picture, place)
    if origin is Mapping:
        items = cast(dict[str, Any], _checked(value, dict, place)).items()
        return {key: _decode(arguments[1], item, get_picture, f"{place}.{key}") for key, item in items}
    if issubclass(hint, StrEnum):
        if value not in list(hint):
            raise RecordError(f"{place}: {value!r} is none of {', '.join(hint)}")
        return hint(value)
    return _checked(value, hint, place)


def _choose(options: tuple[Any, ...], value: Any) -> Any:
    """The member of a union that a JSON value stands for."""
    if value is None and types.NoneType in options:
        return types.NoneType
    if isinstance(value, str) and Picture in options:
        return Picture
    return next(o for o in options if o not in (types.NoneType, Picture))


def _decode_dataclass(kind: type[Any], value: Any, get_picture: GetPicture, place: str) -> Any:
    data = cast(dict[str, Any], _checked(value, dict, place))
    hints = _hints(kind)
    required = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    if missing := required - data.keys():
        raise RecordError(f"{place}: no {', '.join(sorted(missing))}")
    if unknown := data.keys() - hints.keys():
        raise RecordError(f"{place}: unknown {', '.join(sorted(unknown))}")
    return kind(**{k: _decode(hints[k], v, get_picture, f"{place}.{k}") for k, v in data.items()})


def _decode_tuple(
    arguments: tuple[Any, ...], value: Any, get_picture: GetPicture, place: str
) -> tuple[Any, ...]:
    item, values = arguments[0], cast(list[Any], _checked(value, list, place))
    if arguments[-1] is not Ellipsis and len(values) != len(arguments):
        raise RecordError(f"{place}: {len(values)} values where {len(arguments)} are needed")
    # Token ids and log-probabilities are most of a record; one look at their types is enough.
    if item in (int, float, str) and {type(v) for v in values} <= {item}:
        return tuple(values)
    return tuple(_decode(item, v, get_picture, f"{place}[{i}]") for i, v in enumerate(values))


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _checked(value: Any, kind: type, place: str) -> Any:
    # JSON does not tell 2.0 from 2 in every writer's hands, so an int stands for a float; a bool never does.
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise RecordError(f"{place}: {type(value).__name__} where {kind.__name__} is needed")
    return value
