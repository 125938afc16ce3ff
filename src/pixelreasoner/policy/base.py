"""What samples completions: tokens in, tokens out, one protocol for every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pixelreasoner.core.config import Config
from pixelreasoner.core.trajectory import Segment


class Sampling(Config):
    """How tokens are drawn."""

    temperature: float = 1.0
    """0 means greedy."""
    top_p: float = 1.0
    max_tokens: int = 1024
    """New tokens per message."""


@dataclass(frozen=True)
class Request:
    """One conversation that waits for the next model message."""

    segments: tuple[Segment, ...]
    """Everything so far, ending where the model is to speak."""
    seed: int
    """Fixes this request's draws, whatever else is in the batch."""


@dataclass(frozen=True)
class Completion:
    """One sampled message."""

    ids: tuple[int, ...]
    """Token ids, with the stop token when one was drawn."""
    logprobs: tuple[float, ...]
    """log p of each id under the distribution it was drawn from (temperature applied)."""
    finish: Literal["stop", "length"]
    weight_version: int = 0


OnToken = Callable[[int, int], None]
"""Called as (index of the request, token id) for each new token, for streaming."""


class Policy(Protocol):
    """Anything that continues conversations."""

    def sample(
        self, requests: Sequence[Request], sampling: Sampling, on_token: OnToken | None = None
    ) -> list[Completion]:
        """One completion per request, in order."""
        ...
