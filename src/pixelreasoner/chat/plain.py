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

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget
from pixelreasoner.chat.checkpoint_files import with_format
from pixelreasoner.chat.hermes import parse_message
from pixelreasoner.chat.pixels import Normalization
from pixelreasoner.chat.renderer import ToolSchema
from pixelreasoner.chat.vision_spec import VisionSpec, expanded_tokens
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.media import Media, Video
from pixelreasoner.core.messages import Message, Parsed
from pixelreasoner.core.trajectory import Observation, Segment, Span

STOP, IMAGE, VIDEO, SYSTEM, USER, ASSISTANT = range(256, 262)
VOCABULARY_SIZE = 262
_ROLES = {"system": SYSTEM, "user": USER, "tool": USER, "assistant": ASSISTANT}
_ANY = PixelBudget(min_pixels=1, max_pixels=2**40)
_AS_IT_IS = VisionSpec(
    Unit.PIXEL,
    1,
    1,
    1,
    Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    image=_ANY,
    crop=_ANY,
    video_frame=_ANY,
)
"""A patch is a pixel."""


class PlainRenderer:
    """Bytes in, bytes out. Pictures are shown at their own size; each frame of a video is one `VIDEO` id."""

    def __init__(self, chat_format: ChatFormat | None = None) -> None:
        self.chat_format = chat_format or ChatFormat()
        self.vision = with_format(_AS_IT_IS, self.chat_format)
        self.max_tokens: int | None = None
        self.stop_ids = frozenset({STOP})
        self.forbidden_ids = frozenset({IMAGE, VIDEO, SYSTEM, USER, ASSISTANT})

    @property
    def fingerprint(self) -> str:
        return "plain"

    def prompt(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Segment:
        """Roles as ids; the tools stand after the system message's text."""
        listed = "".join("\n" + json.dumps(tool) for tool in tools)
        if not messages or messages[0].role != "system":
            messages = (Message("system", ("",)), *messages)
        ids: list[int] = []
        for message in messages:
            ids.append(_ROLES[message.role])
            for part in message.parts:
                ids += _bytes(part) if isinstance(part, str) else _placeholders(part)
            if message.role == "system":
                ids += _bytes(listed)
            if message.role == "assistant":
                ids.append(STOP)
        media = tuple(part for m in messages for part in m.parts if not isinstance(part, str))
        roles = (m.role for m in messages for part in m.parts if not isinstance(part, str))
        crops = tuple(at for at, role in enumerate(roles) if role == "tool")
        return Segment(ids=(*ids, ASSISTANT), media=media, crops=crops)

    def observation(self, observation: Observation) -> Segment:
        images = (IMAGE,) * len(observation.images)
        return Segment(ids=(USER, *_bytes(observation.text), *images, ASSISTANT), media=observation.images)

    def encode(self, text: str) -> tuple[int, ...]:
        return (*_bytes(text), STOP)

    def tokens_of(self, text: str, characters: Span) -> Span:
        start, end = (len(_bytes(text[:at])) for at in characters)
        return start, end + (characters[1] == len(text))

    def n_tokens(self, segment: Segment, *, prompt: bool) -> int:
        return expanded_tokens(segment, frozenset({IMAGE, VIDEO}), self.vision, prompt=prompt)

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i for i in ids if i < 256).decode("utf-8", errors="replace")

    def parse(self, text: str, tools: Sequence[ToolSchema] = ()) -> Parsed:
        return parse_message(text)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")


def _placeholders(item: Media) -> tuple[int, ...]:
    return (VIDEO,) * len(item.frames) if isinstance(item, Video) else (IMAGE,)
