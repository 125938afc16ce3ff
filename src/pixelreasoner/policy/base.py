"""The seam to what samples completions: tokens in, tokens out, one protocol for every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field, field_validator

from pixelreasoner.core.config import Config, Count
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.trajectory import Segment

if TYPE_CHECKING:
    from torch import Tensor


COLDEST = 0.01
"""The lowest temperature above 0. Scores are divided by it, and have to stay finite in float32."""


class Sampling(Config):
    """How tokens are sampled."""

    temperature: float = Field(default=1.0, ge=0, le=100)
    """0 means greedy (not in RL); otherwise from 0.01 on."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample from the smallest set of tokens of this probability; below 1 not in RL."""
    max_tokens: Count = 1024
    """New tokens per message; at most as many as the model reads in one conversation."""

    @field_validator("temperature")
    @classmethod
    def _greedy_or_warm(cls, temperature: float) -> float:
        if 0 < temperature < COLDEST:
            raise ValueError(f"give 0 for greedy sampling, or at least {COLDEST}")
        return temperature

    def check_length(self, positions: int | None) -> None:
        """Check `max_tokens` against a model of so many positions (None: not known).

        Raises:
            ConfigError: a message could be longer than all that the model can read.
        """
        if positions is not None and self.max_tokens > positions:
            raise ConfigError(
                f"sampling.max_tokens = {self.max_tokens} is more than the model can read: its config.json "
                f"gives it {positions} positions (max_position_embeddings); set max_tokens to {positions} or "
                f"less"
            )


@dataclass(frozen=True)
class CompletionRequest:
    """A request for the next model message of one conversation."""

    segments: tuple[Segment, ...]
    """Everything so far, ending where the model's message begins."""
    seed: int
    """Fixes the random numbers of this request, whatever else is in the batch."""
    sampling: Sampling
    """Requests of one batch may differ in it."""


@dataclass(frozen=True)
class Completion:
    """One sampled message."""

    ids: tuple[int, ...]
    """Token ids, with the stop token when one was sampled."""
    logprobs: tuple[float, ...]
    """log p of each id at the temperature it was sampled with, over all tokens: not that of a nucleus."""
    finish: Literal["stop", "length"]
    weight_version: int = 0
    """Of the weights that sampled the first token."""


OnToken = Callable[[int, int], None]
"""Called as (request id, token id) for each new token, for streaming."""


class Engine(Protocol):
    """Takes requests at any step and advances all that are running together."""

    def submit(self, request: CompletionRequest) -> int:
        """Queue a request; returns its id, a number that no other request of the session has."""
        ...

    def step(self) -> list[tuple[int, Completion]]:
        """Advance; returns the completions that are finished now, with their request ids."""
        ...

    def release(self, request_id: int) -> None:
        """Say that the conversation of this request will not continue.

        An engine keeps nothing of it. A request that is waiting or running is aborted.
        """
        ...


class Policy(Protocol):
    """Anything that samples model messages."""

    @property
    def weight_version(self) -> int:
        """The version last given to `load_weights`; 0 before. Every completion carries one."""
        ...

    def session(self, on_token: OnToken | None = None) -> AbstractContextManager[Engine]:
        """An engine, for the time of a `with` block; one at a time."""
        ...

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Sample from these weights from now on.

        Names are those of the checkpoint (`transformers`). Tensors that the policy shares with the caller
        are not copied. Allowed between the steps of an open session.
        """
        ...


def complete(
    policy: Policy, requests: Sequence[CompletionRequest], on_token: OnToken | None = None
) -> list[Completion]:
    """One completion per request, in order, sampled in a session of their own.

    Args:
        policy: what samples.
        requests: all submitted before the first step.
        on_token: called with the index of the request and the token.
    """
    index: dict[int, int] = {}
    emit = None if on_token is None else lambda request_id, token: on_token(index[request_id], token)
    done: dict[int, Completion] = {}
    with policy.session(emit) as engine:
        for i, request in enumerate(requests):
            index[engine.submit(request)] = i
        while len(done) < len(requests):
            done.update(engine.step())
    return [done[request_id] for request_id in index]
