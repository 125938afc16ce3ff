"""Sampling from a model in this process, made for groups of conversations that call operations.

What it saves over `policy.local`:

* A prompt passes the model once, for all attempts of its group, whenever they come; its keys and values
  are in memory once, and are read once per step for the whole group (`models.cascade`).
* Keys and values are kept from turn to turn: after an operation only its result is read.
* A message that is complete leaves the batch at once, and the next request takes its place. Requests come
  and go at any step, so that nothing waits for the longest message of a turn.

What is drawn for a request depends on its segments, its seed and the weights; what else is sampled, and what
is in memory, moves its log-probabilities by rounding errors only. The same calls in the same order give the
same bits.

Keys and values are those of the weights they were computed with: who changes the weights sets
`weight_version`, or calls `forget`.

Shape legend: B conversations that speak, N tokens of a pass, D hidden width, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.attention.cascade_attention import CascadePlan, Decoding, Piece
from pixelreasoner.models.config import Precision
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.precision import autocast
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.policy.base import Completion, OnToken, Request, Sampling
from pixelreasoner.policy.prefix_cache import Chunk, Memory, Prompt, Tail
from pixelreasoner.policy.sampling import sample_tokens

PREFILL_BATCHING_THRESHOLD = 8
"""New requests start when they are an eighth as many as those under way: a pass of the vision tower and of
the prefill kernels costs about as much for one as for a few."""


class GroupPolicy:
    """A `ContinuousPolicy` over a model held in memory. It samples the model's current weights."""

    def __init__(
        self,
        model: VisionLanguageModel,
        *,
        features: FeatureStore | None = None,
        batch_size: int = 128,
        precision: Precision = "fp32",
        prefill_tokens: int = 16_384,
    ) -> None:
        """A policy.

        Args:
            model: shared with the trainer, if there is one.
            features: shared with the trainer; a store of its own when None.
            batch_size: conversations that speak at the same time. As many again are remembered.
            precision: of the matrix products, and of the keys and values in memory.
            prefill_tokens: conversations start together until they bring as many new tokens as this.
        """
        assert batch_size > 0, "nobody could ever speak"
        self.model = model
        self.features = features or FeatureStore(model)
        self.batch_size = batch_size
        self.precision: Precision = precision
        self.prefill_tokens = prefill_tokens
        self._weight_version = 0
        self._tickets = itertools.count()
        self._at_work = False
        self.forget()

    @property
    def weight_version(self) -> int:
        """Stamped on every completion. Setting it says that the weights are others now."""
        return self._weight_version

    @weight_version.setter
    def weight_version(self, version: int) -> None:
        self._weight_version = version
        self.forget()

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Sample that version from now on; its weights are in the model already, which is the learner's."""
        self.weight_version = version

    def forget(self) -> None:
        """Drop all keys and values, and the memory they take."""
        assert not self._at_work, "keys and values are in use: a session is open"
        self._memory = Memory(len(self.model.decoder.layers), max_tails=2 * self.batch_size)

    def sample(
        self, requests: Sequence[Request], sampling: Sampling, on_token: OnToken | None = None
    ) -> list[Completion]:
        index: dict[int, int] = {}
        tell = None if on_token is None else lambda ticket, token: on_token(index[ticket], token)
        done: dict[int, Completion] = {}
        with self.session(sampling, tell) as engine:
            for i, request in enumerate(requests):
                index[engine.submit(request)] = i
            while len(done) < len(requests):
                done.update(engine.step())
        return [done[ticket] for ticket in index]

    @contextmanager
    def session(self, sampling: Sampling, on_token: OnToken | None = None) -> Iterator[GroupEngine]:
        """The engine; one at a time. The model is in evaluation mode for as long."""
        assert not self._at_work, "one session at a time"
        was_training = self.model.training
        self.model.eval()
        self._at_work = True
        engine = GroupEngine(self, self._memory, self._tickets, sampling, on_token)
        is_sound = False
        try:
            # Held open over all steps: autocast then keeps its copies of the weights.
            with autocast(self.precision, self.model.device):
                yield engine
            is_sound = not engine.is_busy
        finally:
            self._at_work = False
            self.model.train(was_training)
            if not is_sound:
                # Left in the middle of a message, perhaps of a pass: what is in memory may be half written.
                self.forget()


@dataclass
class _Message:
    """A message in the making."""

    ticket: int
    tail: Tail
    random: np.random.Generator
    position: int
    """M-RoPE position of its next token; the three coordinates agree on text."""
    ids: list[int] = field(default_factory=list[int])
    logps: list[float] = field(default_factory=list[float])


class GroupEngine:
    """What is under way in one session."""

    def __init__(
        self,
        policy: GroupPolicy,
        memory: Memory,
        tickets: Iterator[int],
        sampling: Sampling,
        on_token: OnToken | None,
    ) -> None:
        self._policy, self._model, self._memory = policy, policy.model, memory
        self._tickets, self._sampling, self._on_token = tickets, sampling, on_token
        # Conversations that go on come first: they hold memory, and are nearer to their end.
        self._opening: deque[tuple[int, Request]] = deque()
        self._going_on: deque[tuple[int, Request]] = deque()
        self._messages: dict[Tail, _Message] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a message is in the making."""
        return bool(self._messages)

    def submit(self, request: Request) -> int:
        ticket = next(self._tickets)
        queue = self._going_on if len(request.segments) > 1 else self._opening
        queue.append((ticket, request))
        return ticket

    def release(self, ticket: int) -> None:
        self._memory.forget(ticket)

    @torch.no_grad()
    def step(self) -> list[tuple[int, Completion]]:
        """One token for every conversation that speaks, those that start now among them."""
        prompts, tails = self._memory.prompts, self._memory.tails
        n_speaking, n_prompts = tails.n_busy, prompts.n_busy
        chunks = self._start_messages()
        messages = [self._messages[tail] for tail in tails.busy]
        if not messages:
            return []
        states_D = self._read(messages[:n_speaking], n_prompts, chunks)
        logits_BV = self._model.logits(torch.stack([states_D[tail] for tail in tails.busy])).float()
        uniform_B = torch.tensor([m.random.random() for m in messages], dtype=torch.float64)
        forbidden = self._model.renderer.forbidden_ids
        token_B, logp_B = sample_tokens(logits_BV, uniform_B, self._sampling, forbidden)
        done = []
        for message, token, logp in zip(messages, token_B.tolist(), logp_B.tolist(), strict=True):
            message.ids.append(token)
            message.logps.append(logp)
            if self._on_token is not None:
                self._on_token(message.ticket, token)
            stopped = token in self._model.renderer.stop_ids
            if stopped or len(message.ids) == self._sampling.max_tokens:
                done.append(self._complete(message, stopped=stopped))
        return done

    def _start_messages(self) -> list[Chunk]:
        """Let waiting requests speak, as many as fit; returns what is to be read for them."""
        n_speaking = len(self._messages)
        n_free = self._policy.batch_size - n_speaking
        n_waiting = len(self._going_on) + len(self._opening)
        if min(n_free, n_waiting) * PREFILL_BATCHING_THRESHOLD < n_speaking:
            return []
        self._memory.expect(min(n_free, len(self._opening)))
        chunks: list[Chunk] = []
        n_tokens = 0
        while (queue := self._going_on or self._opening) and len(self._messages) < self._policy.batch_size:
            ticket, request = queue.popleft()
            layout = self._model.renderer.layout(request.segments)
            tail, new = self._memory.recall(request.segments, layout)
            random = np.random.default_rng(request.seed)
            self._messages[tail] = _Message(ticket, tail, random, layout.next_position)
            chunks += new
            n_tokens += sum(len(chunk.layout) for chunk in new)
            if n_tokens >= self._policy.prefill_tokens:
                break
        return chunks

    def _read(self, speaking: list[_Message], n_prompts: int, chunks: list[Chunk]) -> dict[Tail, Tensor]:
        """The model reads the last token of each message, and the chunks.

        Returns the hidden state that the next token of each message follows from. `n_prompts` are the prompts
        of `speaking`: they lie first in memory.
        """
        hidden_ND = torch.empty(0)  # where all start from a prompt that was read before
        if speaking or chunks:
            hidden_ND = self._pass(speaking, n_prompts, chunks)
        states_D = {message.tail: hidden_ND[n] for n, message in enumerate(speaking)}
        for message in speaking:
            message.tail.ids.append(message.ids[-1])
            message.position += 1
        end = len(speaking)
        for chunk in chunks:
            end += len(chunk.layout)
            chunk.was_read(hidden_ND[end - 1])
            if isinstance(chunk.row, Tail):
                states_D[chunk.row] = hidden_ND[end - 1]
        for tail in self._messages.keys() - states_D.keys():
            last_D = tail.prompt.last_D
            assert last_D is not None, "a message starts, but its prompt was not read"
            states_D[tail] = last_D
        return states_D

    def _pass(self, speaking: list[_Message], n_prompts: int, chunks: list[Chunk]) -> Tensor:
        """The hidden states [N, D] of one token per message, and of the chunks after them."""
        self._memory.tails.pool.reserve(0, 1 + max((m.tail.n_tokens for m in speaking), default=0))
        layout = Layout.join([_last_tokens(speaking), *(chunk.layout for chunk in chunks)])
        batch = self._model.embed([layout], self._policy.features(layout.blocks), left=False)
        plan = self._plan(speaking, n_prompts, chunks)
        return self._model(batch, cascade=plan)[0]

    def _plan(self, speaking: list[_Message], n_prompts: int, chunks: list[Chunk]) -> CascadePlan:
        prompts, tails = self._memory.prompts, self._memory.tails
        decoding = Decoding(
            held_B=[message.tail.n_tokens for message in speaking],
            prompt_B=[message.tail.prompt.slot for message in speaking],
            prompt_tokens_P=[prompt.n_tokens for prompt in prompts.busy[:n_prompts]],
        )
        pieces = []
        for chunk in chunks:
            row, n_new = chunk.row, len(chunk.layout)
            if isinstance(row, Prompt):
                pieces.append(Piece(prompts.pool, row.slot, 0, n_new))
            else:
                prompt = row.prompt.slot, len(row.prompt.ids)
                pieces.append(Piece(tails.pool, row.slot, row.n_tokens, n_new, prompt))
        return CascadePlan(prompts.pool, tails.pool, decoding, pieces, self._model.device)

    def _complete(self, message: _Message, *, stopped: bool) -> tuple[int, Completion]:
        del self._messages[message.tail]
        self._memory.rest(message.tail, message.ticket)
        ids, logps = tuple(message.ids), tuple(message.logps)
        finish = "stop" if stopped else "length"
        return message.ticket, Completion(ids, logps, finish, self._policy.weight_version)


def _last_tokens(messages: Sequence[_Message]) -> Layout:
    """What was drawn last, to be read now: one token of each message."""
    ids_B = np.array([message.ids[-1] for message in messages], np.int64)
    position_3B = np.tile(np.array([message.position for message in messages], np.int64), (3, 1))
    return Layout(ids_B, np.zeros(len(ids_B), np.int8), np.zeros_like(ids_B), position_3B, ())
