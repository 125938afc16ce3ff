"""What happens during a rollout, as it happens: for a program that shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import Observation, Trajectory

REPLACEMENT = "\ufffd"
MAX_PENDING = 8
"""Tokens that are held back at most. A character has no more than four bytes, and a token at least one."""


@dataclass(frozen=True)
class TextToken:
    """The policy sampled more text."""

    request: int
    """The id of the rollout request; so for every event. `rollout` numbers its requests from 0, in order."""
    text: str
    """Whole characters: a token that ends within one is held back until the character is complete."""


@dataclass(frozen=True)
class OperationStarted:
    """The model asked for an operation that is about to be carried out."""

    request: int
    call: ToolCall


@dataclass(frozen=True)
class OperationReturned:
    """An operation returned, or a call was refused: then `observation.valid` is False."""

    request: int
    observation: Observation


@dataclass(frozen=True)
class Finished:
    """The rollout is over."""

    request: int
    trajectory: Trajectory


Event = TextToken | OperationStarted | OperationReturned | Finished
OnEvent = Callable[[Event], None]


@dataclass
class TextStream:
    """Turns one message's tokens into `TextToken` events, a whole character at a time."""

    request: int
    renderer: Renderer
    emit: OnEvent
    _pending: list[int] = field(default_factory=list[int])

    def push(self, token: int) -> None:
        self._pending.append(token)
        text = self.renderer.decode(self._pending)
        # A byte-level tokenizer shows an unfinished character as U+FFFD at the end.
        if not text.endswith(REPLACEMENT):
            self._emit(text, len(self._pending))
        elif len(self._pending) > MAX_PENDING:
            self._emit_invalid(text)

    def flush(self) -> None:
        """Emit what is left when the message ends."""
        self._emit(self.renderer.decode(self._pending), len(self._pending))

    def _emit_invalid(self, text: str) -> None:
        """Emit the older tokens of bytes that are no text: only the last three can still become a character.

        The split lies between two characters: there, both parts decode to what the whole decodes to.
        """
        for n in range(len(self._pending) - 3, 0, -1):
            before, after = self.renderer.decode(self._pending[:n]), self.renderer.decode(self._pending[n:])
            if before + after == text:
                return self._emit(before, n)
        return self._emit(text, len(self._pending))

    def _emit(self, text: str, n_tokens: int) -> None:
        del self._pending[:n_tokens]
        if text:
            self.emit(TextToken(self.request, text))
