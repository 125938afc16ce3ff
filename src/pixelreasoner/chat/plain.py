"""A renderer without a tokenizer: a public test double for code that needs tokens and no model.

Text is UTF-8 bytes (ids 0 to 255) between a few special ids, so a test can read a conversation's tokens by
eye and write them by hand::

    prompt       SYSTEM ...tools...  USER IMAGE question  ASSISTANT
    message      bytes  STOP
    observation  USER text IMAGE  ASSISTANT

It follows every rule of `chat.renderer.Renderer`. No checkpoint speaks it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.parsing import parse_message
from pixelreasoner.chat.renderer import ToolSchema
from pixelreasoner.core.geometry import Size, Unit
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.messages import Parsed
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment

STOP, IMAGE, VIDEO, SYSTEM, USER, ASSISTANT = range(256, 262)
VOCABULARY_SIZE = 262


class PlainRenderer:
    """Bytes in, bytes out. Pictures are shown at their own size; each frame of a video is one `VIDEO` id."""

    def __init__(self, chat_format: ChatFormat | None = None) -> None:
        self.chat_format = chat_format or ChatFormat()
        self.unit = self.chat_format.unit or Unit.PIXEL
        self.stop_ids = frozenset({STOP})
        self.forbidden_ids = frozenset({IMAGE, VIDEO, SYSTEM, USER, ASSISTANT})

    def prompt(self, task: Task, tools: Sequence[ToolSchema]) -> Segment:
        guideline = self.chat_format.guideline if tools else self.chat_format.guideline_without_tools
        system = self.chat_format.system + "".join("\n" + json.dumps(tool) for tool in tools)
        media = tuple(i for item in task.media for i in _placeholders(item))
        ids = (SYSTEM, *_bytes(system), USER, *media, *_bytes(task.question + guideline), ASSISTANT)
        return Segment(ids=ids, media=task.media)

    def observation(self, observation: Observation) -> Segment:
        images = (IMAGE,) * len(observation.images)
        return Segment(ids=(USER, *_bytes(observation.text), *images, ASSISTANT), media=observation.images)

    def encode(self, text: str) -> tuple[int, ...]:
        return (*_bytes(text), STOP)

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i for i in ids if i < 256).decode("utf-8", errors="replace")

    def parse(self, text: str) -> Parsed:
        return parse_message(text)

    def view(self, picture: Picture, *, crop: bool) -> Size:
        return picture.size


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")


def _placeholders(item: Media) -> tuple[int, ...]:
    return (VIDEO,) * len(item.frames) if isinstance(item, Video) else (IMAGE,)
