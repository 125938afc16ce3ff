"""What samples completions: tokens in, tokens out, one protocol for every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from pydantic import Field

from pixelreasoner.core.config import Config
from pixelreasoner.core.trajectory import Segment


class Sampling(Config):
    """How tokens are drawn."""

    temperature: float = Field(default=1.0, ge=0)
    """0 means greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=1024, ge=1)
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


class Engine(Protocol):
    """Sampling that takes requests at any time, and lets all that are under way advance together."""

    def submit(self, request: Request) -> int:
        """Ask for a message; returns a ticket, a number that no other request has."""
        ...

    def step(self) -> list[tuple[int, Completion]]:
        """Advance; returns the messages that are complete now, with their tickets."""
        ...

    def release(self, ticket: int) -> None:
        """Say that the conversation of a completed message will not go on, so that nothing is kept of it."""
        ...


@runtime_checkable
class ContinuousPolicy(Policy, Protocol):
    """A policy with an engine of its own."""

    def session(self, sampling: Sampling, on_token: OnToken | None = None) -> AbstractContextManager[Engine]:
        """The engine, for the time of a `with` block; `on_token` is called with the ticket and the token."""
        ...


def session(
    policy: Policy, sampling: Sampling, on_token: OnToken | None = None
) -> AbstractContextManager[Engine]:
    """The engine of any policy: one without an engine samples what was submitted as one batch."""
    if isinstance(policy, ContinuousPolicy):
        return policy.session(sampling, on_token)
    return nullcontext(_BatchEngine(policy, sampling, on_token))


class _BatchEngine:
    """`Policy.sample` as an engine: each step completes everything that was submitted before it."""

    def __init__(self, policy: Policy, sampling: Sampling, on_token: OnToken | None) -> None:
        self._policy, self._sampling, self._on_token = policy, sampling, on_token
        self._first = 0
        self._waiting: list[Request] = []

    def submit(self, request: Request) -> int:
        self._waiting.append(request)
        return self._first + len(self._waiting) - 1

    def step(self) -> list[tuple[int, Completion]]:
        first, requests, tell = self._first, self._waiting, self._on_token
        self._first, self._waiting = first + len(requests), []
        on_token = None if tell is None else lambda index, token: tell(first + index, token)
        return list(enumerate(self._policy.sample(requests, self._sampling, on_token), first))

    def release(self, ticket: int) -> None:
        pass
