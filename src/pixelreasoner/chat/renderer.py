"""The seam between words and tokens: the only interface that knows a family's special tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.core.geometry import Size, Unit
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import Parsed
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment

ToolSchema = Mapping[str, Any]
"""A function description in the OpenAI form: {"type": "function", "function": {...}}."""


class Renderer(Protocol):
    """Renders append-only: earlier segments never change when a turn is added."""

    chat_format: ChatFormat
    unit: Unit
    """What the numbers of a box mean to this model."""
    stop_ids: frozenset[int]
    """Tokens that end a model message."""
    forbidden_ids: frozenset[int]
    """Tokens a model must not sample: media placeholders and their brackets."""

    def prompt(self, task: Task, tools: Sequence[ToolSchema]) -> Segment:
        """The conversation up to the point where the model first speaks."""
        ...

    def observation(self, observation: Observation) -> Segment:
        """What follows a model message that asked for an operation, up to the model's next message."""
        ...

    def encode(self, text: str) -> tuple[int, ...]:
        """A model message written by a teacher, as tokens ending with the stop token."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """A sampled message as text, the stop token left out."""
        ...

    def parse(self, text: str) -> Parsed:
        """What a message says. Never raises: a broken call becomes `Parsed.call_error`."""
        ...

    def view(self, picture: Picture, *, crop: bool) -> Size:
        """The size `picture` is shown at: as an image of the question, or as an operation's result."""
        ...
