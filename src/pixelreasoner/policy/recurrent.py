"""The engine of `GroupPolicy` for decoders with recurrent layers.

* A conversation is read by itself, in an ordinary row. Its prompt is read once for all rollouts of a group,
  and what the decoder keeps of it is copied to each.
* What is kept of a conversation goes on from turn to turn: after an operation only its result is read.
* Messages that are generated are read together, one token each.

A state cannot be taken back by some tokens: what is kept serves a request that continues it, and no other.

Shape legend: B running messages, D hidden width, T tokens.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pixelreasoner.chat.layout import IntArray, Layout
from pixelreasoner.models.recurrent_states import SequenceState, read
from pixelreasoner.policy.base import Completion, CompletionRequest, OnToken
from pixelreasoner.policy.messages import Finish, Message, MessageQueue, TokenSampler, too_small

if TYPE_CHECKING:
    from pixelreasoner.policy.group import GroupPolicy

SPARE_PROMPTS = 8
"""Prompts that are kept, the most recently used."""

Pictures = tuple[tuple[str, float], ...]
"""Equal keys are equal pixels at equal times."""


@dataclass(frozen=True, eq=False)
class _Kept:
    """What the decoder keeps of the beginning of a conversation."""

    ids_T: IntArray
    """Expanded."""
    pictures: Pictures
    state: SequenceState

    def continues_in(self, layout: Layout) -> bool:
        """Whether `layout` begins with what was read, and goes on."""
        n = len(self.ids_T)
        if n >= len(layout) or not np.array_equal(self.ids_T, layout.ids_T[:n]):
            return False
        return self.pictures == _pictures(layout)[: len(self.pictures)]


@dataclass(frozen=True, eq=False)
class _Prompt:
    """The first segment of conversations, as the decoder has read it."""

    state: SequenceState
    last_D: Tensor
    """The hidden state from which a first message starts."""


@dataclass(frozen=True, eq=False)
class _Running:
    """A message in generation."""

    message: Message
    layout: Layout
    """What was read before its next token, when it was started."""
    n_before: int
    """Tokens of the message among those."""

    @property
    def n_tokens(self) -> int:
        return len(self.layout) + len(self.message.ids) - self.n_before


class RecurrentEngine:
    """Samples a token for every running message in each step (`policy.base.Engine`)."""

    def __init__(self, policy: GroupPolicy, on_token: OnToken | None) -> None:
        self._policy, self._model = policy, policy.model
        self._sample = TokenSampler(policy.model, on_token)
        self._request_ids = itertools.count()
        self._waiting = MessageQueue()
        # In the order of the rows of the batch.
        self._running: list[_Running] = []
        # Of a sequence, once one was read.
        self._token_bytes = self._fixed_bytes = 0
        self.reset_prefix_cache()

    def submit(self, request: CompletionRequest) -> int:
        message = Message.of(next(self._request_ids), request)
        self._waiting.add(message)
        return message.request_id

    def release(self, request_id: int) -> None:
        self._waiting.remove(request_id)
        self._keep_running([entry.message.request_id != request_id for entry in self._running])
        self._kept.pop(request_id, None)

    def reset_prefix_cache(self) -> None:
        """Drop all that the decoder keeps; what is running starts again from the tokens it has."""
        for entry in reversed(self._running):
            self._waiting.put_back(entry.message)
        self._running = []
        self._batch = self._policy.decode_mode.states(self._model)
        # Both in the order of use, the most recent last.
        self._kept: dict[int, _Kept] = {}
        self._prompts: dict[tuple[bytes, Pictures], _Prompt] = {}

    @torch.no_grad()
    def step(self) -> list[tuple[int, Completion]]:
        """One token for every running message, those that start now among them.

        Raises:
            ConfigError: the memory is too small for a single conversation.
            NonFiniteError: the model's scores are not finite.
        """
        self._make_room()
        states_D = self._read_next()
        started = self._start_messages()
        if not self._running:
            return []
        self._batch.add([state for state, _ in started])
        states_D += [last_D for _, last_D in started]
        finishes = self._sample([entry.message for entry in self._running], torch.stack(states_D))
        done = [self._complete(row, finish) for row, finish in enumerate(finishes) if finish is not None]
        self._keep_running([finish is None for finish in finishes])
        return done

    # What runs

    def _read_next(self) -> list[Tensor]:
        """Read the last token of each running message; returns the hidden state of each."""
        messages = [entry.message for entry in self._running]
        if not messages:
            return []
        hidden_BD = self._batch.read_next([m.ids[-1] for m in messages], [m.position for m in messages])
        for message in messages:
            message.position += 1
        return list(hidden_BD)

    def _start_messages(self) -> list[tuple[SequenceState, Tensor]]:
        """Start waiting requests, as many as fit: what was read for each, and its last hidden state."""
        started: list[tuple[SequenceState, Tensor]] = []
        while self._waiting and len(self._running) < self._policy.batch_size:
            message = self._waiting.next
            layout = self._model.renderer.layout(message.segments)
            if not self._fits(len(layout)):
                break
            self._waiting.pop()
            started.append(self._read(message, layout))
            self._running.append(_Running(message, layout, len(message.ids)))
            message.position = layout.next_position
            if not message.ids:
                message.weight_version = self._policy.weight_version
        return started

    def _keep_running(self, goes_on: list[bool]) -> None:
        """Drop the rows of messages that do not go on."""
        if not all(goes_on):
            self._batch.keep([row for row, stays in enumerate(goes_on) if stays])
            self._running = [entry for entry, stays in zip(self._running, goes_on, strict=True) if stays]

    def _complete(self, row: int, finish: Finish) -> tuple[int, Completion]:
        """The completion of a message; what was read is kept, since the conversation may continue."""
        entry = self._running[row]
        message = entry.message
        # Its last token was sampled, and not read.
        said = np.array(message.ids[entry.n_before : -1], dtype=np.int64)
        ids_T = np.concatenate([entry.layout.ids_T, said])
        kept = _Kept(ids_T, _pictures(entry.layout), self._batch.state(row))
        self._kept[message.request_id] = kept
        if len(self._kept) > self._policy.batch_size:
            del self._kept[next(iter(self._kept))]
        return message.request_id, message.completion(finish)

    # What the model reads

    def _read(self, message: Message, layout: Layout) -> tuple[SequenceState, Tensor]:
        """Read a conversation as far as its next token follows; returns the last hidden state too."""
        if (kept := self._longest_prefix(layout)) is not None:
            return self._pass(layout.slice(len(kept.ids_T), len(layout)), kept.state)
        n_prompt = int(np.searchsorted(layout.owner_T, len(message.segments[0].ids)))
        assert n_prompt > 0, "a conversation starts with a prompt"
        prompt = self._prompt(layout.slice(0, n_prompt))
        if n_prompt == len(layout):
            return prompt.state, prompt.last_D
        return self._pass(layout.slice(n_prompt, len(layout)), prompt.state)

    def _longest_prefix(self, layout: Layout) -> _Kept | None:
        """The longest conversation that this one continues; it is not kept any longer."""
        lengths = {len(kept.ids_T): key for key, kept in self._kept.items() if kept.continues_in(layout)}
        return self._kept.pop(lengths[max(lengths)]) if lengths else None

    def _prompt(self, layout: Layout) -> _Prompt:
        """The prompt of a conversation, read once for all that begin with it."""
        key = layout.ids_T.tobytes(), _pictures(layout)
        prompt = self._prompts.pop(key, None)
        if prompt is None:
            state, last_D = self._pass(layout, None)
            prompt = _Prompt(state, last_D)
        self._prompts[key] = prompt
        if len(self._prompts) > SPARE_PROMPTS:
            del self._prompts[next(iter(self._prompts))]
        return prompt

    def _pass(self, layout: Layout, after: SequenceState | None) -> tuple[SequenceState, Tensor]:
        last_D, state = read(self._model, layout, self._policy.features(layout.blocks), after)
        self._token_bytes = state.token_bytes
        self._fixed_bytes = state.n_bytes - state.n_tokens * state.token_bytes
        self._check_size(state)
        return state, last_D

    # Memory

    @property
    def _n_kept_bytes(self) -> int:
        return sum(entry.state.n_bytes for entry in (*self._kept.values(), *self._prompts.values()))

    def _make_room(self) -> None:
        """Stay within the budget: drop what is kept, the oldest first, then set the newest messages back."""
        while self._batch.n_bytes + self._n_kept_bytes > self._policy.kv_cache_bytes:
            if self._kept:
                del self._kept[next(iter(self._kept))]
            elif self._prompts:
                del self._prompts[next(iter(self._prompts))]
            elif not self._batch.trim():
                if len(self._running) == 1:
                    self._check_size(self._batch.state(0))
                self._waiting.put_back(self._running[-1].message)
                self._keep_running([True] * (len(self._running) - 1) + [False])

    def _fits(self, n_tokens: int) -> bool:
        """Whether another conversation of so many tokens has room beside those that run."""
        if not self._running:
            return True
        room = max(n_tokens, *(entry.n_tokens for entry in self._running))
        row_bytes = self._fixed_bytes + room * self._token_bytes
        return row_bytes * (len(self._running) + 1) <= self._policy.kv_cache_bytes

    def _check_size(self, state: SequenceState) -> None:
        budget = self._policy.kv_cache_bytes
        if state.n_bytes > budget:
            raise too_small(budget, budget * state.n_tokens // state.n_bytes)


def _pictures(layout: Layout) -> Pictures:
    return tuple((block.key, block.time_step) for block in layout.blocks)
