"""Parquet shards with embedded pictures, as the library `datasets` loads them.

::

    data/train-00000-of-00003.parquet

| column | what it holds |
|---|---|
| `id`, `kind`, `question`, `options`, `answers` | of the task |
| `template`, `answer` | of the trajectory |
| `messages` | `{role, content}` from the system message on; a content is `{type, text}` |
| `images` | the pictures behind the parts of type "image", in order |
| `frames`, `times_s` | those of the video behind the part of type "video", and their times in seconds |
| `masked` | for each message of the model, `[start, end)` in characters of its text that is not learned |
| `cue` | where the evidence is: `box` in pixels of media item `target`, `frames` from 1 |
| `boxes` | for each operation: `turn` and `image` (from 1), `box` in pixels of that image, `frames` |
| `coordinates` | what the numbers in the texts mean |
| `record` | the whole record of this package as JSON, with pictures by their digests |

`read_parquet` gives the records back, equal to the last field.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pixelreasoner.core.errors import MediaError, RecordError
from pixelreasoner.core.files import writing
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import decode_image, encoded, suffix_of
from pixelreasoner.core.records import trajectory_from_json, trajectory_to_json
from pixelreasoner.core.task import Cue
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.synth.exports.prompts import Prompts
from pixelreasoner.tasks.parquet import import_pyarrow

DATA_FOLDER = "data"
SHARD_BYTES = 500_000_000
"""What a shard holds at most, unless one trajectory alone is larger."""
GROUP_BYTES, GROUP_ROWS = 32 * 2**20, 100
"""What is in memory before it is written, and what a reader has to read for one row."""


def write_parquet(
    folder: Path, trajectories: Iterable[Trajectory], prompts: Prompts, *, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write the trajectories into shards of a folder.

    Args:
        folder: an empty one.
        trajectories: read one at a time.
        prompts: those of the run.
        shard_bytes: the pictures and texts of a shard, before compression.

    Raises:
        RecordError: the folder cannot be written to.
        MediaError: a picture cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    with writing(folder), _Shards(folder / DATA_FOLDER, shard_bytes) as shards:
        for trajectory in trajectories:
            shards.add(_row(trajectory, prompts))


def read_parquet(folder: Path) -> Iterator[Trajectory]:
    """The trajectories of an export, one at a time; their pictures stay in memory as files, not as pixels.

    Args:
        folder: the export's, or the one of its shards.

    Raises:
        RecordError: there are no shards, or one of them cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    pa = import_pyarrow("A data set in Parquet")
    paths = sorted(folder.glob(f"{DATA_FOLDER}/*.parquet")) or sorted(folder.glob("*.parquet"))
    if not paths:
        raise RecordError(f"{folder} holds no Parquet shards; give the folder of an export")
    for path in paths:
        try:
            with pa.parquet.ParquetFile(path) as file:
                columns = ["record", "images", "frames"]
                for batch in file.iter_batches(batch_size=16, columns=columns):
                    yield from map(_trajectory, batch.to_pylist())
        except (OSError, pa.ArrowException, MediaError, RecordError) as e:
            raise RecordError(f"{path} cannot be read ({e}); export it again") from e


def _trajectory(row: dict[str, Any]) -> Trajectory:
    images = (*row["images"], *row["frames"])
    pictures = [decode_image(image["bytes"], str(image["path"])) for image in images]
    by_digest = {picture.digest: picture for picture in pictures}

    def get(digest: str) -> Picture:
        if digest not in by_digest:
            raise RecordError(f"the picture {digest} is not in its row")
        return by_digest[digest]

    return trajectory_from_json(json.loads(row["record"]), get)


class _Shards:
    """Writes rows to one shard after another; the shards get their names when their number is known."""

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self._folder, self._shard_bytes = folder, shard_bytes
        self._pa = import_pyarrow("A data set in Parquet")
        self._schema = _schema(self._pa)
        self._writer: Any = None
        self._paths: list[Path] = []
        self._rows: list[dict[str, Any]] = []
        self._waiting = self._written = 0
        """Bytes of `_rows`, and of the open shard."""

    def __enter__(self) -> _Shards:
        self._folder.mkdir()
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[0] is not None:
            with suppress(OSError):
                self._close()
            return
        if not self._paths:
            self._open()  # a data set of no rows has its columns
        self._flush()
        self._close()
        for number, path in enumerate(self._paths):
            path.rename(path.with_name(f"train-{number:05}-of-{len(self._paths):05}.parquet"))

    def add(self, row: dict[str, Any]) -> None:
        size = len(row["record"]) + sum(len(image["bytes"]) for image in (*row["images"], *row["frames"]))
        used = self._written + self._waiting
        if self._writer is None or (used and used + size > self._shard_bytes):
            self._flush()
            self._close()
            self._open()
        self._rows.append(row)
        self._waiting += size
        if self._waiting >= GROUP_BYTES or len(self._rows) >= GROUP_ROWS:
            self._flush()

    def _open(self) -> None:
        self._paths.append(self._folder / f"{len(self._paths)}.part")
        self._writer = self._pa.parquet.ParquetWriter(self._paths[-1], self._schema)
        self._written = 0

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._pa.Table.from_pylist(self._rows, schema=self._schema))
        self._written, self._waiting, self._rows = self._written + self._waiting, 0, []

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


# ----------------------------------------------------------------------------------------------- rows


def _row(trajectory: Trajectory, prompts: Prompts) -> dict[str, Any]:
    task = trajectory.task
    messages: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    frames: list[dict[str, Any]] = []
    times: list[float] = []
    for message in prompts.messages(trajectory):
        content: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": _utf8(part)})
            elif isinstance(part, Picture):
                content.append({"type": "image"})
                images.append(_embedded(part))
            else:
                content.append({"type": "video"})
                frames += map(_embedded, part.frames)
                times += part.times_s
        messages.append({"role": message.role, "content": content})
    return {
        "id": _utf8(task.id), "template": trajectory.source, "kind": _utf8(task.kind),
        "question": _utf8(task.question), "options": list(map(_utf8, task.options)),
        "answers": list(map(_utf8, task.answers)), "answer": _utf8(trajectory.answer or ""),
        "messages": messages, "images": images, "frames": frames, "times_s": times,
        "masked": [list(turn.masked or ()) for turn in trajectory.turns],
        "cue": None if task.cue is None else _cue(task.cue),
        "boxes": _boxes(trajectory),
        "coordinates": trajectory.coordinates,
        "record": json.dumps(trajectory_to_json(trajectory)),
    }  # fmt: skip


def _boxes(trajectory: Trajectory) -> list[dict[str, Any]]:
    return [
        {
            "turn": number,
            "image": seen.source if seen.box is not None else None,
            "box": [] if (b := seen.box) is None else [float(v) for v in (b.x1, b.y1, b.x2, b.y2)],
            "frames": list(seen.frames),
        }
        for number, seen in enumerate(trajectory.read_observations, start=1)
        if seen is not None and seen.valid
    ]


def _cue(cue: Cue) -> dict[str, Any]:
    boxes = [[float(v) for v in (b.x1, b.y1, b.x2, b.y2)] for b in (cue.box, *cue.boxes) if b is not None]
    return {
        "box": boxes[0] if cue.box is not None else [],
        "frames": list(map(int, cue.frames)),
        "target": cue.target,
        "boxes": boxes[1:] if cue.box is not None else boxes,
    }


def _embedded(picture: Picture) -> dict[str, Any]:
    return {"bytes": encoded(picture), "path": f"{picture.digest}{suffix_of(picture)}"}


def _utf8(text: str) -> str:
    """The text without halves of surrogate pairs, which Arrow does not take; `record` keeps them."""
    return text.encode("utf-8", "replace").decode("utf-8")


# --------------------------------------------------------------------------------------------- schema

_TEXT, _INT, _FLOAT = "string", "int64", "float64"
_IMAGE = "image"
_FEATURES: dict[str, Any] = {
    "id": _TEXT, "template": _TEXT, "kind": _TEXT, "question": _TEXT, "options": [_TEXT],
    "answers": [_TEXT], "answer": _TEXT,
    "messages": [{"role": _TEXT, "content": [{"type": _TEXT, "text": _TEXT}]}],
    "images": [_IMAGE], "frames": [_IMAGE], "times_s": [_FLOAT],
    "masked": [[_INT]],
    "cue": {"box": [_FLOAT], "frames": [_INT], "target": _INT, "boxes": [[_FLOAT]]},
    "boxes": [{"turn": _INT, "image": _INT, "box": [_FLOAT], "frames": [_INT]}],
    "coordinates": _TEXT,
    "record": _TEXT,
}  # fmt: skip
"""The columns: a name of a type, a list of one, or a struct."""


def _schema(pa: Any) -> Any:
    """The Arrow schema; the features of `datasets` in its metadata say which columns are images."""
    info = {"info": {"features": {name: _feature(form) for name, form in _FEATURES.items()}}}
    fields = [(name, _arrow(pa, form)) for name, form in _FEATURES.items()]
    return pa.schema(fields, metadata={"huggingface": json.dumps(info)})


def _feature(form: Any) -> Any:
    if isinstance(form, dict):
        return {name: _feature(inner) for name, inner in form.items()}
    if isinstance(form, list):
        return [_feature(form[0])]  # every release of `datasets` reads this; "List" only those since 4.0
    return {"_type": "Image"} if form == _IMAGE else {"dtype": form, "_type": "Value"}


def _arrow(pa: Any, form: Any) -> Any:
    if isinstance(form, dict):
        return pa.struct([(name, _arrow(pa, inner)) for name, inner in form.items()])
    if isinstance(form, list):
        return pa.list_(_arrow(pa, form[0]))
    if form == _IMAGE:
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return {_TEXT: pa.string(), _INT: pa.int64(), _FLOAT: pa.float64()}[form]
