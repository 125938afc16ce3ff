"""What the engines of this process share: messages that wait or are generated, and the sampling of one token.

Shape legend: B running messages, D hidden width, V vocabulary.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pixelreasoner.core.errors import ConfigError, NonFiniteError
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.policy.base import Completion, CompletionRequest, OnToken
from pixelreasoner.policy.sampling import sample_tokens

NOT_FINITE = (
    "the model's scores are not finite: training has diverged, or the checkpoint is damaged; "
    "use an earlier checkpoint, or download it again"
)
Finish = Literal["stop", "length"]


@dataclass(eq=False)
class Message:
    """A message that is waiting, or in generation."""

    request_id: int
    request: CompletionRequest
    random: np.random.Generator
    position: int = 0
    """M-RoPE position of its next token; the three coordinates agree on text."""
    ids: list[int] = field(default_factory=list[int])
    logps: list[float] = field(default_factory=list[float])
    weight_version: int = 0

    @classmethod
    def of(cls, request_id: int, request: CompletionRequest) -> Message:
        return cls(request_id, request, np.random.default_rng(request.seed))

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All that is to be read before its next token."""
        given = self.request.segments
        return (*given, Segment(tuple(self.ids))) if self.ids else given

    def completion(self, finish: Finish) -> Completion:
        return Completion(tuple(self.ids), tuple(self.logps), finish, self.weight_version)


class MessageQueue:
    """Messages that wait. Conversations that continue start first: they hold memory, and end sooner."""

    def __init__(self) -> None:
        self._opening: deque[Message] = deque()
        self._continuing: deque[Message] = deque()

    def __len__(self) -> int:
        return len(self._opening) + len(self._continuing)

    @property
    def n_opening(self) -> int:
        """Messages that begin a conversation."""
        return len(self._opening)

    @property
    def next(self) -> Message:
        """The one that starts next; there is one."""
        return (self._continuing or self._opening)[0]

    def add(self, message: Message) -> None:
        (self._continuing if len(message.request.segments) > 1 else self._opening).append(message)

    def put_back(self, message: Message) -> None:
        """A message that was started; it is the next one now."""
        self._continuing.appendleft(message)

    def pop(self) -> Message:
        return (self._continuing or self._opening).popleft()

    def remove(self, request_id: int) -> None:
        for queue in (self._continuing, self._opening):
            for message in queue:
                if message.request_id == request_id:
                    queue.remove(message)
                    return


def too_small(n_bytes: int, n_tokens: int) -> ConfigError:
    """The error of an engine whose memory for keys and values does not hold a single conversation."""
    return ConfigError(
        f"the key-value cache of {n_bytes:,} bytes holds {n_tokens:,} tokens, too few for one conversation; "
        "set a larger kv_cache_bytes under [model], or limit the conversation"
    )


class TokenSampler:
    """Samples the next token of running messages, and records it in them."""

    def __init__(self, model: VisionLanguageModel, on_token: OnToken | None) -> None:
        self._model, self._on_token = model, on_token
        self._forbidden_F = torch.tensor(sorted(model.renderer.forbidden_ids), device=model.device)

    def __call__(self, messages: Sequence[Message], states_BD: Tensor) -> list[Finish | None]:
        """How each message is finished by its new token; None where it goes on.

        Args:
            messages: all that are running.
            states_BD: the hidden state that the next token of each follows from.

        Raises:
            NonFiniteError: the model's scores are not finite.
        """
        logits_BV = self._model.logits(states_BD).float()
        uniform_B = self._upload([m.random.random() for m in messages])
        samplings = [m.request.sampling for m in messages]
        token_B, logp_B = sample_tokens(logits_BV, uniform_B, samplings, self._forbidden_F)
        finishes: list[Finish | None] = []
        # One look at the device; a float64 holds both exactly.
        drawn_2B = torch.stack([token_B.double(), logp_B.double()]).tolist()
        for message, token, logp in zip(messages, map(int, drawn_2B[0]), drawn_2B[1], strict=True):
            if not math.isfinite(logp):
                raise NonFiniteError(NOT_FINITE)
            message.ids.append(token)
            message.logps.append(logp)
            if self._on_token is not None:
                self._on_token(message.request_id, token)
            if token in self._model.renderer.stop_ids:
                finishes.append("stop")
            else:
                is_full = len(message.ids) == message.request.sampling.max_tokens
                finishes.append("length" if is_full else None)
        return finishes

    def _upload(self, uniform_B: list[float]) -> Tensor:
        """Numbers in float64 on the model's device; a copy from pinned memory waits for nothing."""
        device = self._model.device
        on_host = torch.tensor(uniform_B, dtype=torch.float64, pin_memory=device.type == "cuda")
        return on_host.to(device, non_blocking=True)
