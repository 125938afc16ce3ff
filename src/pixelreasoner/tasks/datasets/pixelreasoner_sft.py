"""TIGER-Lab/PixelReasoner-SFT-Data: the trajectories of the paper's warm start, as records of ours.

A row is `{"qid": ..., "message_list": [...]}`. A message has a `role` and a `content`, a list of objects with
`text`, `image` or `video` (those that are absent may be null)::

    system      the tools, in words; dropped, since the chat format of a checkpoint has its own
    user        the question, a guideline after it, the image or 16 frames of a video
    assistant   words, then <tool_call>{"name": "crop_image", "arguments": {"bbox_2d": ..., ...}}</tool_call>
    user        a line, and the crop or the selected frames
    assistant   words with \\boxed{...}

Source: the data set's card (format, archives `images.zip` and `videos.zip`) and the authors' trainer
(`instruction_tuning/sft_tooltrainer.py`), which takes `message_list` as it is. Not verified, since the files
could not be read: that boxes are pixels of the image as stored (numbers that are all at most 1 are read as
fractions); the exact words of the guideline (everything from its last "Guidelines:" on is taken off); and
whether rows mark their wrong operations: none of the fields that are known does.

`pixelreasoner export` writes the same format with three more fields of a row, which are read here: `masked`
(for each message of the model the characters that are not learned, or null; the mask "paper" then is this
one), `template`, and `times_s` (of the frames of a video).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pixelreasoner.chat.calls import CALL_OPEN, last_boxed
from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.core.display import counted
from pixelreasoner.core.errors import ConfigError, MediaError, RecordError
from pixelreasoner.core.geometry import Box, Unit
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Span, StopReason, Trajectory, Turn
from pixelreasoner.tasks.datasets.answers import plain_question
from pixelreasoner.tasks.datasets.crop_claims import box_numbers
from pixelreasoner.tasks.datasets.data_files import FilesRows, RowForm, dataset_folder, find_files
from pixelreasoner.tasks.datasets.media_store import MediaStore
from pixelreasoner.tasks.datasets.report import LoadReport, UnusableError
from pixelreasoner.tasks.datasets.sft_masks import MASKS, call_span
from pixelreasoner.tasks.media_fields import read_image, read_video

HUB_ID = "TIGER-Lab/PixelReasoner-SFT-Data"
NAME = "pixelreasoner-sft"
FILES = ("release.json", "*.json", "*.jsonl", "*.parquet")
_FIELDS = ("qid", "message_list", "masked", "template", "times_s")
COORDINATES = "pixel of the images as stored"
"""No model's: `chat.rerender` writes the boxes for one."""
CROP, SELECT = "crop_image", "select_frames"
NORMALIZED = "crop_image_normalized"

_GUIDELINE = re.compile(r"\s*Guidelines:(?!.*Guidelines:).*\Z", re.DOTALL)
_OWN_MASK = "paper"
"""The mask in whose place that of a row stands, where it has one."""


@dataclass(frozen=True)
class _Message:
    role: str
    text: str
    images: tuple[str, ...]
    video: tuple[str, ...]


class SftTrajectories:
    """The trajectories of the data set, one at a time; those that cannot be used are counted."""

    def __init__(self, path: str = HUB_ID, *, mask: str = "paper") -> None:
        """Find the files.

        Args:
            path: the data set's folder, a file of its rows, or its name on the hub.
            mask: a name of `sft_masks.MASKS`.

        Raises:
            ConfigError: there is no such mask.
            RecordError: there are no rows at the path.
        """
        if mask not in MASKS:
            raise ConfigError(f"there is no mask '{mask}'; choose from {', '.join(MASKS)}")
        self._mask, self._own_mask = MASKS[mask], mask == _OWN_MASK
        place = dataset_folder(path, ("*.json", "*.jsonl", "*.parquet", "*.zip"), NAME)
        self._rows = FilesRows(find_files(place, FILES, "train", NAME), RowForm(_FIELDS))
        self._media = MediaStore(place if place.is_dir() else place.parent)
        self.report = LoadReport(f"{NAME} ({path})")
        """Of the rows that were passed; trajectories are counted by what they do."""

    def __len__(self) -> int:
        """The rows, usable or not; they are read to be counted."""
        return sum(1 for _ in self._rows.scan())

    def __iter__(self) -> Iterator[Trajectory]:
        for _, made in self.rows():
            if isinstance(made, Trajectory):
                yield made

    def rows(self) -> Iterator[tuple[str, Trajectory | UnusableError]]:
        """Each row's place, and its trajectory or why there is none."""
        for number, values in self._rows.scan():
            place = self._rows.place(number)
            try:
                made = self._trajectory(values, f"{NAME}-{self._rows.name(number)}")
            except UnusableError as e:
                self.report.leave_out(place, e)
                yield place, e
                continue
            self.report.use(_form(made))
            yield place, made

    def _trajectory(self, values: object, default_id: str) -> Trajectory:
        """The trajectory of a row.

        Raises:
            UnusableError: there is none in it.
        """
        if isinstance(values, RecordError):
            raise UnusableError("the row cannot be read", str(values))
        row = cast(Mapping[str, Any], values) if isinstance(values, Mapping) else {}
        question, *rest = _messages(row.get("message_list"))
        task = self._task(str(row.get("qid") or default_id), question, row.get("times_s"))
        turns = self._turns(task, rest)
        answer = last_boxed(turns[-1].text)
        made = Trajectory(
            replace(task, answers=() if answer is None else (answer,)),
            tuple(turns),
            StopReason.ANSWER,
            answer,
            source=str(row.get("template") or ("text_only" if len(turns) == 1 else NAME)),
            coordinates=COORDINATES,
        )
        own = _recorded_mask(row.get("masked"), turns) if self._own_mask else None
        masked = zip(made.turns, self._mask(made) if own is None else own, strict=True)
        return replace(made, turns=tuple(replace(turn, masked=span) for turn, span in masked))

    def _task(self, name: str, message: _Message, times: object) -> Task:
        media: list[Media] = list(self._pictures(message.images))
        if message.video:
            media.append(self._video(message.video, times))
        kind = "video" if message.video else "image"
        question = _GUIDELINE.sub("", plain_question(message.text))
        return Task(name, plain_question(question), tuple(media), (), kind=kind, split="train")

    def _turns(self, task: Task, messages: Sequence[_Message]) -> list[Turn]:
        shown = [item for item in task.media if isinstance(item, Picture)]
        video = next((item for item in task.media if isinstance(item, Video)), None)
        turns: list[Turn] = []
        for said, result in zip(messages[0::2], [*messages[1::2], None], strict=False):
            if said.role != "assistant" or not said.text.strip():
                raise UnusableError("messages do not take turns", f"{said.role}: {said.text[:40]!r}")
            text, call = _own_call(said.text)
            if result is None:
                turns.append(Turn(text, call))
                continue
            if CALL_OPEN not in text:
                raise UnusableError("a user message follows one that asks for nothing")
            images = self._pictures(result.images)
            turns.append(Turn(text, call, _observation(call, result.text, images, shown, video)))
            shown += images
        if not turns or CALL_OPEN in turns[-1].text or turns[-1].observation is not None:
            raise UnusableError("the last message is no answer")
        return turns

    def _pictures(self, names: Sequence[str]) -> tuple[Picture, ...]:
        fields = {"images": list(names)}
        self._media.check(fields)
        try:
            values = self._media.filled(fields)["images"]
            return tuple(read_image(v, self._media.folder, n) for v, n in zip(values, names, strict=True))
        except (RecordError, MediaError) as e:
            raise UnusableError("an image cannot be read", str(e)) from e

    def _video(self, names: Sequence[str], times: object) -> Video:
        timed = isinstance(times, (list, tuple)) and len(cast(Sequence[Any], times)) == len(names)
        # One name is a video file; several, or one with its time, are frames.
        fields: dict[str, Any] = {"video": names[0] if len(names) == 1 and not timed else list(names)}
        self._media.check(fields)
        try:
            value: Any = self._media.filled(fields)["video"]
            if timed:
                value = {"frames": value, "times_s": times}
            return read_video(value, self._media.folder, "video", 16)
        except (RecordError, MediaError) as e:
            raise UnusableError("a video cannot be read", str(e)) from e


# ------------------------------------------------------------------------------------------- messages


def _messages(values: Any) -> list[_Message]:
    """The messages of a row from the question on."""
    items = cast(Sequence[Any], values) if isinstance(values, (list, tuple)) else ()
    messages = [_message(item) for item in items]
    if messages and messages[0].role == "system":
        messages = messages[1:]
    if not messages or messages[0].role != "user":
        raise UnusableError("no message of the user")
    if not messages[0].images and not messages[0].video:
        raise UnusableError("no image or video")
    return messages


def _message(values: Any) -> _Message:
    table: Mapping[str, Any] = cast(Mapping[str, Any], values) if isinstance(values, Mapping) else {}
    content = table.get("content")
    parts = [{"text": content}] if isinstance(content, str) else _listed(content)
    texts: list[str] = []
    images: list[str] = []
    video: list[str] = []
    for part in parts:
        if not isinstance(part, Mapping):
            continue
        for value, into in (
            (part.get("text"), texts),
            (part.get("image"), images),
            (part.get("video"), video),
        ):
            into += [
                v for v in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(v, str)
            ]
    return _Message(str(table.get("role")), "".join(texts), tuple(images), tuple(video))


def _listed(value: Any) -> Sequence[Any]:
    """A list of a row; an empty one where it holds something else."""
    return cast(Sequence[Any], value) if isinstance(value, (list, tuple)) else ()


def _recorded_mask(value: Any, turns: Sequence[Turn]) -> list[Span | None] | None:
    """For each message what a row says is not learned of it; None where the row says nothing that fits."""
    items = cast(Sequence[Any], value) if isinstance(value, (list, tuple)) else ()
    if len(items) != len(turns):
        return None
    spans: list[Span | None] = []
    for item, turn in zip(items, turns, strict=True):
        numbers = tuple(cast(Sequence[Any], item)) if isinstance(item, (list, tuple)) else ()
        if numbers and not (
            len(numbers) == 2
            and all(type(number) is int for number in numbers)
            and 0 <= numbers[0] <= numbers[1] <= len(turn.text)
        ):
            return None
        spans.append((numbers[0], numbers[1]) if numbers else None)
    return spans


def _own_call(text: str) -> tuple[str, ToolCall | None]:
    """A message, and its call by the name that it has here."""
    call = HERMES.parse(text).call
    if call is None or call.name != NORMALIZED:
        return text, call
    renamed = replace(call, name=CROP)
    start, end = call_span(text)
    return text[:start] + HERMES.format(renamed) + text[end:], renamed


def _observation(
    call: ToolCall | None,
    text: str,
    images: tuple[Picture, ...],
    shown: Sequence[Picture],
    video: Video | None,
) -> Observation:
    """A result, with the region it shows where the call says it."""
    text = text.strip()
    if not images:
        return Observation(text, valid=False)
    arguments: Mapping[str, Any] = {} if call is None else call.arguments
    target = arguments.get("target_image", 1)
    if isinstance(target, int) and 1 <= target <= len(shown):
        box = _box(arguments.get("bbox_2d"), shown[target - 1])
        if box is not None:
            return Observation(text, images, box=box, source=target)
    return Observation(text, images, frames=_frames(arguments.get("target_frames"), video))


def _box(value: Any, picture: Picture) -> Box | None:
    """The region of a crop, in pixels of its image; None where the numbers name none."""
    if (numbers := box_numbers(value)) is None:
        return None
    unit = Unit.FRACTION if max(numbers) <= 1 else Unit.PIXEL
    left, top, right, bottom = Box(*numbers, unit).pixel_bounds(picture.size)
    return Box(left, top, right, bottom) if left < right and top < bottom else None


def _frames(value: Any, video: Video | None) -> tuple[int, ...]:
    numbers = cast(Sequence[Any], value) if isinstance(value, (list, tuple)) else ()
    n = 0 if video is None else len(video.frames)
    good = all(type(v) is int and 1 <= v <= n for v in numbers)
    return tuple(numbers) if good else ()


def _form(trajectory: Trajectory) -> str:
    """What is counted of a trajectory."""
    if len(trajectory.turns) == 1:
        return "no operation"
    n = sum(turn.masked is not None for turn in trajectory.turns)
    what = "frames" if trajectory.task.kind == "video" else "crop"
    return f"{what}, {counted(n, 'message')} masked" if n else what


def with_replies(trajectory: Trajectory, crop_reply: str, frames_reply: str) -> Trajectory:
    """The trajectory with other lines before its results: those that a rollout would read.

    Args:
        trajectory: of this data set.
        crop_reply: fields as in `chat.chat_format.ChatFormat`.
        frames_reply: likewise.
    """
    n = sum(isinstance(item, Picture) for item in trajectory.task.media)
    turns: list[Turn] = []
    for turn in trajectory.turns:
        seen = turn.observation
        if seen is not None and seen.valid:
            if seen.box is not None:
                width, height = seen.images[0].size
                text = crop_reply.format(index=n + 1, width=width, height=height, target=seen.source)
                turn = replace(turn, observation=replace(seen, text=text))
            elif seen.frames:
                frames = ", ".join(map(str, seen.frames))
                text = frames_reply.format(first=n + 1, last=n + len(seen.images), frames=frames)
                turn = replace(turn, observation=replace(seen, text=text))
            n += len(seen.images)
        turns.append(turn)
    return replace(trajectory, turns=tuple(turns))
