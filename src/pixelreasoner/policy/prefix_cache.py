"""The prefix cache of the group engine: keys and values of prompts, and of the sequences after them.

A conversation is a prompt (its first segment) and a sequence (all tokens after it). The rollouts of a group
share one prompt; each has a sequence of its own, which grows turn by turn. A request whose tokens continue
a sequence in the cache costs only what is new; one that does not, costs its whole sequence, and the result
is the same.

The cache has a budget in bytes. When it is spent, preempted sequences are evicted first, the oldest before
the others, and then prompts that no sequence uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from torch import Tensor

from pixelreasoner.chat.layout import Layout, VisualBlock
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models.kv_pool import SlotAllocator, in_blocks

SPARE_PROMPTS = 8
"""Prompts kept that no sequence in the cache uses, the most recently used."""

BlockKey = tuple[str, float]
"""Equal keys are equal pixels at equal times."""
PromptKey = tuple[tuple[int, ...], tuple[BlockKey, ...]]


class Room(NamedTuple):
    """Rows of a pool, and tokens in each."""

    rows: int
    tokens: int

    @property
    def size(self) -> int:
        return self.rows * self.tokens


@dataclass(eq=False)
class CachedPrompt:
    """The first segment of conversations."""

    key: PromptKey
    """Expanded token ids (one for each token of a picture), and the pictures."""
    slot: int = -1
    n_tokens: int = 0
    """In the pool: none until the model has read it, then all."""
    n_unread: int = 0
    """Tokens that it has room for, and that the model has yet to read."""
    last_D: Tensor | None = None
    """The hidden state of its last token, from which a first message starts."""
    n_sequences: int = 0
    """In the cache."""
    n_running: int = 0
    """Sequences that are."""

    @property
    def n_reserved(self) -> int:
        """Tokens of room it needs."""
        return self.n_tokens + self.n_unread


@dataclass(eq=False)
class CachedSequence:
    """The tokens of one conversation after its prompt, as far as the model has read them."""

    prompt: CachedPrompt
    ids: list[int] = field(default_factory=list[int])
    blocks: tuple[BlockKey, ...] = ()
    slot: int = -1
    n_unread: int = 0
    """Tokens that it has room for, and that the model has yet to read."""

    @property
    def n_tokens(self) -> int:
        return len(self.ids)

    @property
    def n_reserved(self) -> int:
        """Tokens of room it needs, the next one that is sampled included."""
        return self.n_tokens + self.n_unread + 1


@dataclass(frozen=True, eq=False)
class Chunk:
    """Tokens that the model has yet to read, at the end of `row`."""

    row: CachedPrompt | CachedSequence
    layout: Layout

    def __post_init__(self) -> None:
        self.row.n_unread = len(self.layout)

    def mark_read(self, last_D: Tensor) -> None:
        """Its keys and values are in the pool now; `last_D` is the hidden state of its last token."""
        self.row.n_unread = 0
        if isinstance(self.row, CachedPrompt):
            self.row.n_tokens = len(self.layout)
            self.row.last_D = last_D.clone()  # a view would keep the states of the whole pass
        else:
            self.row.ids += self.layout.ids_T.tolist()
            self.row.blocks += _keys(self.layout.blocks)


class PrefixCache:
    """Prompts and sequences, each with its slot in a pool of keys and values."""

    def __init__(self, n_layers: int, *, max_sequences: int, max_tokens: int) -> None:
        """An empty cache.

        Args:
            n_layers: of the decoder.
            max_sequences: beyond that, the sequence that was preempted first is evicted.
            max_tokens: tokens of room in both pools together, used or not.
        """
        self.prompts: SlotAllocator[CachedPrompt] = SlotAllocator(n_layers)
        self.sequences: SlotAllocator[CachedSequence] = SlotAllocator(n_layers)
        self.max_tokens = max_tokens
        self._max_sequences = max_sequences
        # Both in the order of use, the most recent last.
        self._known: dict[PromptKey, CachedPrompt] = {}
        self._preempted: dict[int, CachedSequence] = {}

    def expect(self, n_sequences: int) -> None:
        """Make room for so many more sequences at once, rather than again and again, if there is any."""
        rows = min(len(self.sequences) + n_sequences, self._max_sequences)
        pool = self.sequences.pool
        if Room(*pool.grown(rows, 0)).size + self.prompts.pool.capacity <= self.max_tokens:
            pool.reserve(rows, 0)

    def reserve(self, tokens: int) -> bool:
        """Make room for `tokens` tokens in every sequence; False when the running ones leave too little."""
        return tokens <= self.sequences.pool.tokens or self._make_room(Room(0, 0), Room(0, tokens), None)

    def look_up(
        self, segments: Sequence[Segment], layout: Layout
    ) -> tuple[CachedSequence, list[Chunk]] | None:
        """The sequence of a conversation, running, and what is to be read before its next token.

        None when the running sequences leave too little room.
        """
        n_prompt = int(np.searchsorted(layout.owner_T, len(segments[0].ids)))
        assert n_prompt > 0, "a conversation starts with a prompt"
        head, rest = layout.slice(0, n_prompt), layout.slice(n_prompt, len(layout))
        key = tuple(head.ids_T.tolist()), _keys(head.blocks)
        prompt = self._known.get(key)
        request_id = None if prompt is None else self._longest_prefix(prompt, rest)
        sequence = None if request_id is None else self._preempted.pop(request_id)
        n_cached = 0 if sequence is None else sequence.n_tokens
        n_room = len(rest) + 1 if len(rest) > n_cached else 0
        self._keep_few(new_prompt=prompt is None, new_sequence=sequence is None)
        if not self._make_room(Room(prompt is None, n_prompt), Room(sequence is None, n_room), prompt):
            if request_id is not None and sequence is not None:
                self._preempted[request_id] = sequence
            return None

        chunks: list[Chunk] = []
        if prompt is None:
            prompt = CachedPrompt(key)
            self.prompts.add(prompt)
            chunks.append(Chunk(prompt, head))
        self._known[key] = self._known.pop(key, prompt)
        if sequence is None:
            sequence = CachedSequence(prompt)
            self.sequences.add(sequence)
            prompt.n_sequences += 1
        if len(new := rest.slice(n_cached, len(rest))):
            chunks.append(Chunk(sequence, new))
        self._resume(sequence)
        return sequence, chunks

    def preempt(self, sequence: CachedSequence, request_id: int) -> None:
        """Set a running sequence aside; `request_id` is what it is evicted by."""
        self.sequences.preempt(sequence)
        sequence.prompt.n_running -= 1
        if not sequence.prompt.n_running:
            self.prompts.preempt(sequence.prompt)
        self._preempted[request_id] = sequence

    def evict(self, request_id: int) -> None:
        """Give up a preempted sequence, if it is still in the cache and has not been resumed."""
        sequence = self._preempted.pop(request_id, None)
        if sequence is not None:
            self.sequences.evict(sequence)
            sequence.prompt.n_sequences -= 1

    def _longest_prefix(self, prompt: CachedPrompt, rest: Layout) -> int | None:
        """The request id of the longest preempted sequence that `rest` continues."""
        ids, blocks = rest.ids_T.tolist(), _keys(rest.blocks)
        fits = [
            (sequence.n_tokens, request_id)
            for request_id, sequence in self._preempted.items()
            if sequence.prompt is prompt
            and sequence.n_tokens < len(ids)
            and sequence.ids == ids[: sequence.n_tokens]
            and sequence.blocks == blocks[: len(sequence.blocks)]
        ]
        return max(fits)[1] if fits else None

    def _resume(self, sequence: CachedSequence) -> None:
        if not sequence.prompt.n_running:
            self.prompts.resume(sequence.prompt)
        sequence.prompt.n_running += 1
        self.sequences.resume(sequence)

    # Eviction

    def _keep_few(self, *, new_prompt: bool, new_sequence: bool) -> None:
        """Evict what is one too many when a prompt or a sequence is added."""
        if new_prompt:
            spare = [prompt for prompt in self._known.values() if not prompt.n_sequences]
            if len(spare) >= SPARE_PROMPTS:
                self._evict_prompt(spare[0])
        if new_sequence and len(self.sequences) >= self._max_sequences:
            self.evict(next(iter(self._preempted)))

    def _make_room(self, prompts: Room, sequences: Room, keep: CachedPrompt | None) -> bool:
        """Make room for so many more rows, and for so many tokens in each; evict what has to be evicted.

        False, with nothing evicted, when it would not be enough to evict all but `keep` and what is running.
        """
        pools = self.prompts.pool, self.sequences.pool
        rooms = (
            Room(*pools[0].grown(len(self.prompts) + prompts.rows, prompts.tokens)),
            Room(*pools[1].grown(len(self.sequences) + sequences.rows, sequences.tokens)),
        )
        if not self._fits(rooms):  # then without spare room
            in_use = set(self.sequences) - set(self._preempted.values())
            prompts_in_use = {sequence.prompt for sequence in in_use} | ({keep} if keep else set())
            if not self._fits((_smallest(prompts_in_use, prompts), _smallest(in_use, sequences))):
                return False
            rooms = _smallest(self.prompts, prompts), _smallest(self.sequences, sequences)
            while not self._fits(rooms):
                self._evict_oldest(keep)
                rooms = _smallest(self.prompts, prompts), _smallest(self.sequences, sequences)
        for pool, room in zip(pools, rooms, strict=True):
            if room != (pool.rows, pool.tokens):
                pool.resize(*room)
        return True

    def _fits(self, rooms: tuple[Room, Room]) -> bool:
        return rooms[0].size + rooms[1].size <= self.max_tokens

    def _evict_oldest(self, keep: CachedPrompt | None) -> None:
        """Give up one preempted sequence; or, when there is none, one prompt that none uses."""
        if self._preempted:
            self.evict(next(iter(self._preempted)))
        else:
            spare = (p for p in self._known.values() if not p.n_sequences and p is not keep)
            self._evict_prompt(next(spare))

    def _evict_prompt(self, prompt: CachedPrompt) -> None:
        self.prompts.evict(prompt)
        del self._known[prompt.key]


def _smallest(rows: Iterable[CachedPrompt] | Iterable[CachedSequence], new: Room) -> Room:
    """The smallest room for these rows and for `new`."""
    reserved = [row.n_reserved for row in rows]
    return Room(len(reserved) + new.rows, in_blocks(max([new.tokens, *reserved])))


def _keys(blocks: Sequence[VisualBlock]) -> tuple[BlockKey, ...]:
    return tuple((block.key, block.time_step) for block in blocks)
