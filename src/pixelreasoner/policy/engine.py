"""The engine of `GroupPolicy`: what is waiting and running in one session.

Shape legend: B running sequences, N tokens of a pass, D hidden width, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pixelreasoner.chat.layout import Layout
from pixelreasoner.core.errors import ConfigError, NonFiniteError
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models.attention.cascade_attention import CascadePlan, Decoding, Piece
from pixelreasoner.policy.base import Completion, CompletionRequest, OnToken
from pixelreasoner.policy.prefix_cache import CachedPrompt, CachedSequence, Chunk
from pixelreasoner.policy.sampling import sample_tokens

if TYPE_CHECKING:
    from pixelreasoner.policy.group import GroupPolicy

PREFILL_BATCHING_THRESHOLD = 8
"""New requests start when they are an eighth as many as those that are running: a pass of the vision tower
and of the prefill kernels costs about as much for one as for a few."""

NOT_FINITE = (
    "the model's scores are not finite: training has diverged, or the checkpoint is damaged; "
    "use an earlier checkpoint, or download it again"
)


@dataclass(eq=False)
class _Message:
    """A message that is waiting, or in generation."""

    request_id: int
    request: CompletionRequest
    random: np.random.Generator
    position: int = 0
    """M-RoPE position of its next token; the three coordinates agree on text."""
    ids: list[int] = field(default_factory=list[int])
    logps: list[float] = field(default_factory=list[float])
    weight_version: int = 0

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All that is to be read before its next token."""
        given = self.request.segments
        return (*given, Segment(tuple(self.ids))) if self.ids else given


class GroupEngine:
    """Samples a token for every running sequence in each step (`policy.base.Engine`)."""

    def __init__(self, policy: GroupPolicy, on_token: OnToken | None) -> None:
        self._policy, self._model, self._on_token = policy, policy.model, on_token
        self._cache = policy.new_prefix_cache()
        self._forbidden_F = torch.tensor(
            sorted(self._model.renderer.forbidden_ids), device=self._model.device
        )
        self._request_ids = itertools.count()
        # Conversations that continue start first: they hold memory, and are nearer to their end.
        self._opening: deque[_Message] = deque()
        self._continuing: deque[_Message] = deque()
        self._running: dict[CachedSequence, _Message] = {}

    def submit(self, request: CompletionRequest) -> int:
        message = _Message(next(self._request_ids), request, np.random.default_rng(request.seed))
        queue = self._continuing if len(request.segments) > 1 else self._opening
        queue.append(message)
        return message.request_id

    def release(self, request_id: int) -> None:
        for sequence, message in self._running.items():
            if message.request_id == request_id:
                self._preempt(sequence)
                break
        for queue in (self._continuing, self._opening):
            for message in queue:
                if message.request_id == request_id:
                    queue.remove(message)
                    break
        self._cache.evict(request_id)

    def reset_prefix_cache(self) -> None:
        """Drop all keys and values; what is running starts again from the tokens it has."""
        for sequence in reversed(self._running.copy()):
            self._preempt(sequence)
        self._cache = self._policy.new_prefix_cache()

    @torch.no_grad()
    def step(self) -> list[tuple[int, Completion]]:
        """One token for every running sequence, those that start now among them.

        Raises:
            ConfigError: the cache is too small for a single conversation.
            NonFiniteError: the model's scores are.
        """
        self._reserve_next_tokens()
        prompts, sequences = self._cache.prompts, self._cache.sequences
        n_decoding, n_prompts = sequences.n_running, prompts.n_running
        chunks = self._start_messages()
        messages = [self._running[sequence] for sequence in sequences.running]
        if not messages:
            return []
        states_D = self._read(messages[:n_decoding], n_prompts, chunks)
        logits_BV = self._model.logits(torch.stack([states_D[s] for s in sequences.running])).float()
        uniform_B = torch.tensor([m.random.random() for m in messages], dtype=torch.float64)
        samplings = [m.request.sampling for m in messages]
        token_B, logp_B = sample_tokens(logits_BV, uniform_B, samplings, self._forbidden_F)
        done: list[tuple[int, Completion]] = []
        running = list(zip(sequences.running, messages, strict=True))
        for (sequence, message), token, logp in zip(running, token_B.tolist(), logp_B.tolist(), strict=True):
            if not math.isfinite(logp):
                raise NonFiniteError(NOT_FINITE)
            message.ids.append(token)
            message.logps.append(logp)
            if self._on_token is not None:
                self._on_token(message.request_id, token)
            stopped = token in self._model.renderer.stop_ids
            if stopped or len(message.ids) == message.request.sampling.max_tokens:
                done.append(self._complete(sequence, stopped=stopped))
        return done

    # What runs

    def _reserve_next_tokens(self) -> None:
        """Make room for one more token in every running sequence; preempt the newest while there is none."""
        while self._running:
            if self._cache.reserve(1 + max(sequence.n_tokens for sequence in self._running)):
                return
            if len(self._running) == 1:
                raise self._too_small()
            self._preempt(next(reversed(self._running)))

    def _start_messages(self) -> list[Chunk]:
        """Start waiting requests, as many as fit; returns what is to be read for them."""
        n_free = self._policy.batch_size - len(self._running)
        n_waiting = len(self._continuing) + len(self._opening)
        if min(n_free, n_waiting) * PREFILL_BATCHING_THRESHOLD < len(self._running):
            return []
        self._cache.expect(min(n_free, len(self._opening)))
        chunks: list[Chunk] = []
        n_tokens = 0
        while (queue := self._continuing or self._opening) and len(self._running) < self._policy.batch_size:
            message = queue[0]
            layout = self._model.renderer.layout(message.segments)
            found = self._cache.look_up(message.segments, layout)
            if found is None:
                if not self._running:
                    raise self._too_small()
                break
            queue.popleft()
            sequence, new = found
            self._running[sequence] = message
            message.position = layout.next_position
            if not message.ids:
                message.weight_version = self._policy.weight_version
            chunks += new
            n_tokens += sum(len(chunk.layout) for chunk in new)
            if n_tokens >= self._policy.prefill_tokens:
                break
        return chunks

    def _preempt(self, sequence: CachedSequence) -> None:
        """Put a running message back to the front of those that wait."""
        message = self._running.pop(sequence)
        self._cache.preempt(sequence, message.request_id)
        self._continuing.appendleft(message)

    def _complete(self, sequence: CachedSequence, *, stopped: bool) -> tuple[int, Completion]:
        message = self._running.pop(sequence)
        self._cache.preempt(sequence, message.request_id)
        finish = "stop" if stopped else "length"
        completion = Completion(tuple(message.ids), tuple(message.logps), finish, message.weight_version)
        return message.request_id, completion

    def _too_small(self) -> ConfigError:
        budget, tokens = self._policy.kv_cache_bytes, self._cache.max_tokens
        return ConfigError(
            f"the key-value cache of {budget:,} bytes holds {tokens:,} tokens, too few for one conversation; "
            "set a larger kv_cache_bytes under [model], or limit the conversation"
        )

    # What the model reads

    def _read(
        self, decoding: list[_Message], n_prompts: int, chunks: list[Chunk]
    ) -> dict[CachedSequence, Tensor]:
        """The model reads the last token of each message of `decoding`, and the chunks.

        Returns the hidden state that the next token of each message follows from. `n_prompts` are the prompts
        of `decoding`: they have the first slots.
        """
        hidden_ND = torch.empty(0)  # where all start from a prompt that was read before
        sequences = self._cache.sequences.running[: len(decoding)]
        if decoding or chunks:
            hidden_ND = self._pass(decoding, n_prompts, chunks)
        states_D = {sequence: hidden_ND[n] for n, sequence in enumerate(sequences)}
        for sequence, message in zip(sequences, decoding, strict=True):
            sequence.ids.append(message.ids[-1])
            message.position += 1
        end = len(decoding)
        for chunk in chunks:
            end += len(chunk.layout)
            chunk.mark_read(hidden_ND[end - 1])
            if isinstance(chunk.row, CachedSequence):
                states_D[chunk.row] = hidden_ND[end - 1]
        for sequence in self._running.keys() - states_D.keys():
            last_D = sequence.prompt.last_D
            assert last_D is not None, "a message starts, but its prompt was not read"
            states_D[sequence] = last_D
        return states_D

    def _pass(self, decoding: list[_Message], n_prompts: int, chunks: list[Chunk]) -> Tensor:
        """The hidden states [N, D] of one token per message, and of the chunks after them."""
        layout = Layout.join([_last_tokens(decoding), *(chunk.layout for chunk in chunks)])
        batch = self._model.embed([layout], self._policy.features(layout.blocks), left=False)
        plan = self._plan(len(decoding), n_prompts, chunks)
        return self._model(batch, cascade=plan)[0]

    def _plan(self, n_decoding: int, n_prompts: int, chunks: list[Chunk]) -> CascadePlan:
        prompts, sequences = self._cache.prompts, self._cache.sequences
        decoding = sequences.running[:n_decoding]
        plan = Decoding(
            held_B=[sequence.n_tokens for sequence in decoding],
            prompt_B=[sequence.prompt.slot for sequence in decoding],
            prompt_tokens_P=[prompt.n_tokens for prompt in prompts.running[:n_prompts]],
        )
        pieces: list[Piece] = []
        for chunk in chunks:
            row, n_new = chunk.row, len(chunk.layout)
            if isinstance(row, CachedPrompt):
                pieces.append(Piece(prompts.pool, row.slot, 0, n_new))
            else:
                prompt = row.prompt.slot, len(row.prompt.key[0])
                pieces.append(Piece(sequences.pool, row.slot, row.n_tokens, n_new, prompt))
        return CascadePlan(prompts.pool, sequences.pool, plan, pieces, self._model.device)


def _last_tokens(messages: Sequence[_Message]) -> Layout:
    """What was sampled last, to be read now: one token of each message."""
    ids_B = np.array([message.ids[-1] for message in messages], np.int64)
    position_3B = np.tile(np.array([message.position for message in messages], np.int64), (3, 1))
    return Layout(ids_B, np.zeros(len(ids_B), np.int8), np.zeros_like(ids_B), position_3B, ())
