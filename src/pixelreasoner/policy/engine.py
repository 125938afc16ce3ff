"""The engine of `GroupPolicy`: what is waiting and running in one session.

Shape legend: B running sequences, N tokens of a pass, D hidden width.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixelreasoner.chat.layout import Layout
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.models.attention.cascade_attention import CascadePlan, Piece
from pixelreasoner.policy.base import Completion, CompletionRequest, OnToken
from pixelreasoner.policy.decode_steps import decoding_of, last_tokens
from pixelreasoner.policy.messages import Finish, Message, MessageQueue, TokenSampler, too_small
from pixelreasoner.policy.prefix_cache import CachedPrompt, CachedSequence, Chunk

if TYPE_CHECKING:
    from pixelreasoner.policy.group import GroupPolicy

PREFILL_BATCHING_THRESHOLD = 8
"""New requests start when they are an eighth as many as those that are running: a pass of the vision tower
and of the prefill kernels costs about as much for one as for a few."""


class GroupEngine:
    """Samples a token for every running sequence in each step (`policy.base.Engine`)."""

    def __init__(self, policy: GroupPolicy, on_token: OnToken | None) -> None:
        self._policy, self._model = policy, policy.model
        self._sample = TokenSampler(policy.model, on_token)
        self._cache = policy.new_prefix_cache()
        self._decode = policy.decode_mode.cascade(policy.model)
        self._request_ids = itertools.count()
        self._waiting = MessageQueue()
        self._running: dict[CachedSequence, Message] = {}

    def submit(self, request: CompletionRequest) -> int:
        message = Message.of(next(self._request_ids), request)
        self._waiting.add(message)
        return message.request_id

    def release(self, request_id: int) -> None:
        for sequence, message in self._running.items():
            if message.request_id == request_id:
                self._preempt(sequence)
                break
        self._waiting.remove(request_id)
        self._cache.evict(request_id)

    def reset_prefix_cache(self) -> None:
        """Drop all keys and values; what is running starts again from the tokens it has."""
        for sequence in reversed(self._running.copy()):
            self._preempt(sequence)
        self._decode.clear()
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
        states_BD = self._read(messages[:n_decoding], n_prompts, chunks)
        finishes = self._sample(messages, states_BD)
        ended = zip(list(sequences.running), finishes, strict=True)
        return [self._complete(sequence, finish) for sequence, finish in ended if finish is not None]

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
        if min(n_free, len(self._waiting)) * PREFILL_BATCHING_THRESHOLD < len(self._running):
            return []
        self._cache.expect(min(n_free, self._waiting.n_opening))
        chunks: list[Chunk] = []
        n_tokens = 0
        while self._waiting and len(self._running) < self._policy.batch_size:
            message = self._waiting.next
            layout = self._model.renderer.layout(message.segments)
            found = self._cache.look_up(message.segments, layout)
            if found is None:
                if not self._running:
                    raise self._too_small()
                break
            self._waiting.pop()
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
        self._waiting.put_back(message)

    def _complete(self, sequence: CachedSequence, finish: Finish) -> tuple[int, Completion]:
        message = self._running.pop(sequence)
        self._cache.preempt(sequence, message.request_id)
        return message.request_id, message.completion(finish)

    def _too_small(self) -> ConfigError:
        return too_small(self._policy.kv_cache_bytes, self._cache.max_tokens)

    # What the model reads

    def _read(self, decoding: list[Message], n_prompts: int, chunks: list[Chunk]) -> Tensor:
        """The model reads the last token of each message of `decoding`, and the chunks.

        Returns the hidden states [B, D] that the next tokens of all running messages follow from. `n_prompts`
        are the prompts of `decoding`: they have the first slots.
        """
        n = len(decoding)
        if chunks:
            hidden_ND = self._pass(decoding, n_prompts, chunks)
        elif decoding:
            hidden_ND = self._decode(self._cache, decoding, n_prompts)
        else:  # all start from a prompt that was read before
            hidden_ND = torch.empty(0)
        sequences = self._cache.sequences.running
        for sequence, message in zip(sequences[:n], decoding, strict=True):
            sequence.ids.append(message.ids[-1])
            message.position += 1
        if len(sequences) == n and not chunks:
            return hidden_ND
        read: dict[CachedSequence, Tensor] = {}
        end = n
        for chunk in chunks:
            end += len(chunk.layout)
            chunk.mark_read(hidden_ND[end - 1])
            if isinstance(chunk.row, CachedSequence):
                read[chunk.row] = hidden_ND[end - 1]
        started = [read[s] if s in read else _after_prompt(s) for s in sequences[n:]]
        return torch.stack([*hidden_ND[:n], *started])

    def _pass(self, decoding: list[Message], n_prompts: int, chunks: list[Chunk]) -> Tensor:
        """The hidden states [N, D] of one token per message, and of the chunks after them."""
        layout = Layout.join([last_tokens(decoding), *(chunk.layout for chunk in chunks)])
        batch = self._model.embed([layout], self._policy.features(layout.blocks), left=False)
        plan = self._plan(len(decoding), n_prompts, chunks)
        return self._model(batch, cascade=plan)[0]

    def _plan(self, n_decoding: int, n_prompts: int, chunks: list[Chunk]) -> CascadePlan:
        prompts, sequences = self._cache.prompts, self._cache.sequences
        pieces: list[Piece] = []
        for chunk in chunks:
            row, n_new = chunk.row, len(chunk.layout)
            if isinstance(row, CachedPrompt):
                pieces.append(Piece(prompts.pool, row.slot, 0, n_new))
            else:
                prompt = row.prompt.slot, len(row.prompt.key[0])
                pieces.append(Piece(sequences.pool, row.slot, row.n_tokens, n_new, prompt))
        decoding = decoding_of(self._cache, n_decoding, n_prompts)
        return CascadePlan(prompts.pool, sequences.pool, decoding, pieces, self._model.device)


def _after_prompt(sequence: CachedSequence) -> Tensor:
    """The hidden state [D] from which a first message starts."""
    last_D = sequence.prompt.last_D
    assert last_D is not None, "a message starts, but its prompt was not read"
    return last_D
