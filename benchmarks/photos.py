"""Photographs of 12 megapixels by the thousand, and trajectories about them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from pixelreasoner.chat.prompting import task_messages
from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.image_files import open_image
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import load_image
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Group, Observation, Segment, StopReason, Trajectory, Turn

SIZE = (4000, 3000)
CROP = (1000, 750)
CROPS = 16
"""Different crops among the rows; a PNG each."""
GROUP = 8
SAMPLED = 500
"""Tokens of a message."""


class Photos:
    """JPEG files of the same noise, each with a comment of its own: other bytes, so another picture.

    The noise is coarse and the quality low: a megabyte a file, so that 10,000 find room on a disk.
    Decoded they take what every picture of their size takes.
    """

    pixel_bytes = SIZE[0] * SIZE[1] * 3

    def __init__(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
        photo = Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        photo.save(buffer, format="JPEG", quality=50)
        self._content = buffer.getvalue()

    def content(self, number: int) -> bytes:
        """The bytes of a file."""
        comment = number.to_bytes(8, "big")
        return (
            self._content[:2]
            + b"\xff\xfe"
            + (2 + len(comment)).to_bytes(2, "big")
            + comment
            + (self._content[2:])
        )

    def picture(self, number: int) -> Picture:
        """The photograph, not decoded."""
        picture = open_image(self.content(number), f"photograph {number}")
        assert picture is not None
        return picture

    def write(self, folder: Path, n: int) -> None:
        """The first `n` as files."""
        folder.mkdir()
        for number in range(n):
            (folder / f"{number}.jpg").write_bytes(self.content(number))

    def load(self, folder: Path, number: int) -> Picture:
        """One of those files, as a task file's images are loaded."""
        return load_image(folder / f"{number}.jpg")


def sft_rows(photos: Photos) -> Iterator[Trajectory]:
    """Trajectories as synthesis writes them: a crop, then the answer."""
    crops = [photos.picture(0).crop(*_corners(i)) for i in range(CROPS)]
    crops = [Picture(crop.pixels) for crop in crops]
    for number in count():
        task = Task(f"row-{number}", "Which letter is on the card?", (photos.picture(number),), ("K",))
        box = _corners(number % CROPS)
        call = ToolCall("crop_image", {"bbox_2d": list(box), "target_image": 1})
        observation = Observation("Image 2:", (crops[number % CROPS],), box=Box(*box))
        yield Trajectory(
            task,
            (Turn("The card is tiny.", call, observation), Turn("It reads K. " * 20)),
            StopReason.ANSWER,
            answer="K",
            source="bench",
        )


def rollouts_of(photo: Picture, number: int, random: np.random.Generator, renderer: Renderer) -> Group:
    """A group of rollouts of one task: each crops elsewhere, and samples two messages."""
    task = Task(f"task-{number}", "Which letter is on the card?", (photo,), ("K",))
    return tuple(_rollout(task, photo, random, renderer) for _ in range(GROUP))


def _rollout(task: Task, photo: Picture, random: np.random.Generator, renderer: Renderer) -> Trajectory:
    left, top = (int(random.integers(0, side - part)) for side, part in zip(SIZE, CROP, strict=True))
    crop = photo.crop(left, top, left + CROP[0], top + CROP[1])
    observation = Observation("Image 2:", (crop,), box=Box(left, top, left + CROP[0], top + CROP[1]))
    return Trajectory(
        task,
        (
            Turn("Closer.", None, observation, _message(random), renderer.observation(observation)),
            Turn("It reads K.", sampled=_message(random)),
        ),
        StopReason.ANSWER,
        answer="K",
        prompt=renderer.prompt(task_messages(task, renderer.chat_format, tools=False), ()),
    )


def _message(random: np.random.Generator) -> Segment:
    ids = tuple(random.integers(100, 1200, SAMPLED).tolist())
    return Segment(ids, logprobs=tuple((-random.random(SAMPLED)).tolist()))


def _corners(number: int) -> tuple[int, int, int, int]:
    x, y = 37 * number, 31 * number
    return x, y, x + CROP[0], y + CROP[1]


def first_token(group: Group, scores: Sequence[float]) -> list[float]:
    """A reward that differs between rollouts of a random model: the first token sampled, modulo 5."""
    return [float(y.turns[0].sampled.ids[0] % 5) if y.turns[0].sampled else 0.0 for y in group]
