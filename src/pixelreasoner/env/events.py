"""What happens during a rollout, as it happens: for a program that shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import Observation, Trajectory


@dataclass(frozen=True)
class TextToken:
    """The model said a little more."""

    attempt: int
    """Index of the attempt in the rollout's list; so for every event."""
    text: str
    """Whole characters: a token that ends within one is held back until the character is complete."""


@dataclass(frozen=True)
class OperationStarted:
    """The model asked for an operation that is about to be carried out."""

    attempt: int
    call: ToolCall


@dataclass(frozen=True)
class OperationReturned:
    """An operation came back, or a call was refused: then `observation.valid` is False."""

    attempt: int
    observation: Observation


@dataclass(frozen=True)
class Finished:
    """The attempt is over."""

    attempt: int
    trajectory: Trajectory


Event = TextToken | OperationStarted | OperationReturned | Finished
OnEvent = Callable[[Event], None]


@dataclass
class TextStream:
    """Turns one message's tokens into `TextToken` events, a whole character at a time."""

    attempt: int
    renderer: Renderer
    tell: OnEvent
    _pending: list[int] = field(default_factory=list)

    def push(self, token: int) -> None:
        self._pending.append(token)
        text = self.renderer.decode(self._pending)
        # A byte-level tokenizer shows an unfinished character as U+FFFD at the end.
        if not text.endswith("\ufffd"):
            self._emit(text)

    def flush(self) -> None:
        """Tell what is left when the message ends."""
        self._emit(self.renderer.decode(self._pending))

    def _emit(self, text: str) -> None:
        self._pending.clear()
        if text:
            self.tell(TextToken(self.attempt, text))
