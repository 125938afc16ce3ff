"""What a conversation is made of before a renderer turns it into tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pixelreasoner.core.media import Media

Role = Literal["system", "user", "assistant", "tool"]
Part = str | Media
"""A piece of content: text, a picture or a video."""


@dataclass(frozen=True)
class Message:
    """One message of a conversation; a model's own message holds its calls as the text it wrote."""

    role: Role
    """"tool" gives the result of an operation."""
    parts: tuple[Part, ...]
    """In the order in which the model reads them."""

    @property
    def text(self) -> str:
        return "".join(p for p in self.parts if isinstance(p, str))


@dataclass(frozen=True)
class ToolCall:
    """A visual operation as the model asked for it: nothing checked yet."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Parsed:
    """What one model message says: its text, and at most one of a call, a broken call, an answer."""

    text: str
    """The words outside the call, stripped."""
    call: ToolCall | None = None
    call_error: str | None = None
    """Why something that looked like a call could not be read; written for the model."""
    n_further_calls: int = 0
    """Calls after the first one, which are not carried out."""
    answer: str | None = None
    """The content of the last \\boxed{}, or None."""
