"""One row of a task file, and the task it stands for.

| field | what it holds |
|---|---|
| `question` | the text; required, but in a file of seeds for synthesis (`core.task`) |
| `answers` | acceptable answers: a list, or one text or number; may be left out where nobody knows |
| `id` | default: the file's name and the row's number |
| `kind` | default "open"; tables are broken down by it, and scorers chosen |
| `images` | a list of images, or one |
| `video` | a file, a folder of frames, a list of frames, or `{frames, times_s}` |
| `media` | several items in an order of their own, each `{image: ...}` or `{video: ...}` |
| `cue` | where the evidence is: `{box: [x1, y1, x2, y2], unit, frames, target}`; unit "pixel" by default;
`boxes` in the place of `box` where the evidence is several things |
| `needs_operation` | true, false, or left out where nobody knows |
| `options` | texts to choose from, put under the question as A., B., ...; an answer is one, or a letter |
| `scorer` | a registered scorer or package.module:function; "choice" where there are options |
| `subject`, `claim` | what the question is about, and the answer in a sentence, for a teacher |
| `split` | the split the row belongs to; a row without one belongs to every split |

An image is a path, or its content (`tasks.media_fields`). Fields that are null count as absent, and so do
those that begin with an underscore.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from pixelreasoner.core.config import Config, Count
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.geometry import Box, Unit, around
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.rewards.choices import LETTERS, chosen_letter, written_options
from pixelreasoner.rewards.scorers import check_scorer
from pixelreasoner.tasks.media_fields import read_image, read_video, video_row

SEEDS_ARE_FOR = (
    "tasks without a question are seeds: `pixelreasoner synth` writes questions about them, "
    "with a chat model as its teacher"
)
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]


def _as_list(value: Any) -> Any:
    """One value for a list of one."""
    return value if value is None or isinstance(value, (list, tuple)) else [value]


def _as_text(value: Any) -> Any:
    """A JSON number as its digits, so that an answer may be written 3."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else value


TextOrNumber = Annotated[Text, BeforeValidator(_as_text)]
OneOrMore = BeforeValidator(_as_list)


class CueRow(Config):
    """`Cue` as a row gives it."""

    box: tuple[float, float, float, float] | None = None
    unit: Unit = Unit.PIXEL
    frames: tuple[Count, ...] = ()
    target: Count = 1
    boxes: tuple[tuple[float, float, float, float], ...] = ()


class MediaRow(Config):
    """One item of `media`."""

    image: Any = None
    video: Any = None

    @model_validator(mode="after")
    def _one_of_the_two(self) -> MediaRow:
        if (self.image is None) == (self.video is None):
            raise ValueError("give either an image or a video")
        return self


class TaskRow(Config):
    """A row, checked, with its media still unread."""

    id: TextOrNumber | None = None
    question: str = ""
    answers: Annotated[tuple[TextOrNumber, ...], OneOrMore] = ()
    kind: Text = "open"
    images: Annotated[tuple[Any, ...], OneOrMore] = ()
    video: Any = None
    media: tuple[MediaRow, ...] = ()
    cue: CueRow | None = None
    needs_operation: bool | None = None
    options: tuple[Text, ...] = ()
    scorer: str = ""
    subject: str = ""
    claim: str = ""
    split: str = ""

    @field_validator("scorer")
    @classmethod
    def _known_scorer(cls, name: str) -> str:
        if name:
            check_scorer(name)
        return name

    @model_validator(mode="after")
    def _consistent(self) -> TaskRow:
        if self.media and (self.images or self.video is not None):
            raise ValueError("'media' lists all items; leave out 'images' and 'video'")
        if self.options and not 2 <= len(self.options) <= len(LETTERS):
            raise ValueError(f"'options' holds {len(self.options)} texts; give 2 to {len(LETTERS)}")
        self.letters()
        return self

    def letters(self) -> tuple[str, ...]:
        """The answers; letters where there are options to choose from.

        Raises:
            ValueError: an answer is none of the options.
        """
        if not self.options:
            return self.answers
        letters = tuple(chosen_letter(answer, self.options) for answer in self.answers)
        for answer, letter in zip(self.answers, letters, strict=True):
            if letter is None:
                raise ValueError(f"'answers': {answer!r} is none of the options {list(self.options)}")
        return cast(tuple[str, ...], letters)

    def task(self, *, default_id: str, split: str, folder: Path, n_frames: int) -> Task:
        """The task, with its media read.

        Args:
            default_id: where the row has none.
            split: where the row names none.
            folder: relative paths start here.
            n_frames: taken from a video file.

        Raises:
            RecordError: the field is named: a file that is missing or no image, a cue outside its image.
        """
        media, question = self._read_media(folder, n_frames), self._question()
        if not (media or question):
            raise RecordError("question: missing, and so are images and videos to write one about")
        return Task(
            id=self.id or default_id,
            question=question,
            media=media,
            answers=self.letters(),
            kind=self.kind,
            cue=None if self.cue is None else _cue(self.cue, media, of_seed=not question),
            needs_operation=self.needs_operation,
            split=self.split or split,
            subject=self.subject,
            scorer=self.scorer or ("choice" if self.options else ""),
            claim=self.claim,
            options=self.options,
        )

    def _question(self) -> str:
        """The question with the options under it, once."""
        if not self.question.strip():
            return ""
        block = "\n" + written_options(self.options)
        return self.question if not self.options or self.question.endswith(block) else self.question + block

    def _read_media(self, folder: Path, n_frames: int) -> tuple[Media, ...]:
        items: list[Media] = [read_image(v, folder, f"images[{i}]") for i, v in enumerate(self.images)]
        if self.video is not None:
            items.append(read_video(self.video, folder, "video", n_frames))
        for i, item in enumerate(self.media):
            if item.image is not None:
                items.append(read_image(item.image, folder, f"media[{i}].image"))
            else:
                items.append(read_video(item.video, folder, f"media[{i}].video", n_frames))
        return tuple(items)


def parse_row(data: object, *, columns: Mapping[str, str] | None = None, seeds: bool = False) -> TaskRow:
    """A row from the values a file holds.

    Args:
        data: an object of JSON, or a row of a table.
        columns: for a file of somebody else's, our field -> its column; other columns are passed over.
        seeds: whether a row may be without a question.

    Raises:
        RecordError: a field is missing, unknown, or holds something else; it is named.
    """
    if not isinstance(data, Mapping):
        raise RecordError("a row is an object with named fields")
    row = _without_nulls(cast(Mapping[str, Any], data))
    if columns:
        row = {ours: row[theirs] for ours, theirs in columns.items() if theirs in row}
    row = {name: value for name, value in row.items() if not name.startswith("_")}
    try:
        parsed = TaskRow.model_validate(row)
    except ValidationError as e:
        raise RecordError("; ".join(_explain(error) for error in e.errors())) from e
    if not parsed.question.strip():
        _check_seed(parsed, "is empty" if "question" in row else "missing", seeds=seeds)
    return parsed


def _check_seed(row: TaskRow, what: str, *, seeds: bool) -> None:
    """Refuse a row without a question where none is wanted, or where it can be no seed.

    Raises:
        RecordError: says what is there in place of a question: it `is empty`, or `missing`.
    """
    if row.answers or row.options:
        raise RecordError(f"question: {what}; answers and options need one")
    if not seeds:
        raise RecordError(f"question: {what}; {SEEDS_ARE_FOR}")


def _without_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without its absent fields; a table gives every field of a struct, most of them null."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            value = _without_nulls(cast(Mapping[str, Any], value))
        elif isinstance(value, list):
            items = cast(list[Any], value)
            value = [_without_nulls(item) if isinstance(item, Mapping) else item for item in items]
        if value is not None:
            out[name] = value
    return out


def _explain(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{place}: missing"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), TaskRow.model_fields, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"the fields are {', '.join(TaskRow.model_fields)}"
        return f"{place}: unknown field; {hint}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _cue(row: CueRow, media: tuple[Media, ...], *, of_seed: bool) -> Cue:
    """The cue in pixels of its media item."""
    if row.target > len(media):
        raise RecordError(f"cue.target: {row.target}, and the row has {len(media)} media items")
    item = media[row.target - 1]
    if row.frames and (isinstance(item, Picture) or max(row.frames) > len(item.frames)):
        has = "an image" if isinstance(item, Picture) else f"a video of {len(item.frames)} frames"
        raise RecordError(f"cue.frames: {list(row.frames)}, and the item is {has}")
    box = None if row.box is None else _box(row.box, row.unit, item, "cue.box")
    boxes = tuple(_box(sides, row.unit, item, f"cue.boxes[{i}]") for i, sides in enumerate(row.boxes))
    if of_seed:
        return Cue(box, row.frames, row.target, boxes)
    if box is None and boxes:
        box = around(boxes)
    return Cue(box, row.frames, row.target, boxes if len(boxes) > 1 else ())


def _box(sides: tuple[float, float, float, float], unit: Unit, item: Media, field: str) -> Box:
    """A box in pixels of an image."""
    box = Box(*sides, unit).to(Unit.PIXEL, item.size)
    inside = box.clip(item.size)
    if not (inside.width > 0 and inside.height > 0):
        width, height = item.size
        raise RecordError(
            f"{field}: {list(sides)} in unit '{unit}' shows nothing of the {width}x{height} image; "
            f"it is left, top, right, bottom, and its unit one of {', '.join(Unit)}"
        )
    return box


def row_of(task: Task, put: Any) -> dict[str, Any]:
    """The row of a task; fields at their defaults are left out.

    Args:
        task: its question may list its options already; they are not written twice.
        put: from a picture to what stands for it in the file.
    """
    row: dict[str, Any] = {"id": task.id, "question": task.question, "answers": list(task.answers)}
    optional: dict[str, Any] = {
        "kind": "" if task.kind == "open" else task.kind,
        "cue": None if task.cue is None else _cue_row(task.cue),
        "needs_operation": task.needs_operation,
        "options": list(task.options),
        "scorer": task.scorer,
        "subject": task.subject,
        "claim": task.claim,
        "split": task.split,
    }
    row |= {name: value for name, value in optional.items() if value not in (None, "", [])}
    return row | _media_row(task.media, put)


def _media_row(media: tuple[Media, ...], put: Any) -> dict[str, Any]:
    if all(isinstance(item, Picture) for item in media):
        return {"images": [put(item) for item in media]} if media else {}
    if len(media) == 1 and isinstance(media[0], Video):
        return {"video": video_row(media[0], put)}
    return {
        "media": [
            {"image": put(item)} if isinstance(item, Picture) else {"video": video_row(item, put)}
            for item in media
        ]
    }


def _cue_row(cue: Cue) -> dict[str, Any]:
    # Boxes of a user's source may hold numbers of numpy, which JSON does not know.
    row: dict[str, Any] = {"frames": [int(frame) for frame in cue.frames], "target": cue.target}
    if cue.box is not None:
        b = cue.box
        row |= {"box": [float(side) for side in (b.x1, b.y1, b.x2, b.y2)], "unit": str(b.unit)}
    if cue.boxes:
        row["boxes"] = [[float(side) for side in (b.x1, b.y1, b.x2, b.y2)] for b in cue.boxes]
    return row
