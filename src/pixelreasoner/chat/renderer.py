"""The seam between words and tokens: the only interface that knows a family's special tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.messages import Message, Parsed
from pixelreasoner.core.trajectory import Observation, Segment, Span

ToolSchema = Mapping[str, Any]
"""A function description in the OpenAI form: {"type": "function", "function": {...}}."""


class Renderer(Protocol):
    """Renders append-only: earlier segments never change when a turn is added."""

    chat_format: ChatFormat
    vision: VisionSpec
    """How the model sees and points."""
    stop_ids: frozenset[int]
    """Tokens that end a model message."""
    forbidden_ids: frozenset[int]
    """Ids a model must not sample: media placeholders, their brackets, and ids without a token."""

    max_tokens: int | None
    """The longest conversation the model can read, placeholders expanded; None: not known."""

    @property
    def fingerprint(self) -> str:
        """Differs where the same conversation would become other tokens."""
        ...

    def prompt(self, messages: Sequence[Message], tools: Sequence[ToolSchema]) -> Segment:
        """The conversation up to the point where the model is to speak, with the operations it may use."""
        ...

    def observation(self, observation: Observation) -> Segment:
        """What follows a model message that asked for an operation, up to the model's next message."""
        ...

    def encode(self, text: str) -> tuple[int, ...]:
        """A model message written by a teacher, as tokens ending with the stop token."""
        ...

    def tokens_of(self, text: str, characters: Span) -> Span:
        """Which tokens of a message, as `encode` gives them, hold any of the given characters of its text.

        The stop token goes with the last character.
        """
        ...

    def n_tokens(self, segment: Segment, *, prompt: bool) -> int:
        """The tokens of a segment as the model reads it, each placeholder expanded, pixels left alone.

        `prompt` says that it is the first one, whose media are the question's but for `Segment.crops`.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """A sampled message as text, the stop token left out."""
        ...

    def parse(self, text: str, tools: Sequence[ToolSchema] = ()) -> Parsed:
        """What a message says. Never raises: a broken call becomes `Parsed.call_error`.

        `tools` are the operations that the prompt offers; where a call is written as plain text, they say
        what type a value has.
        """
        ...
