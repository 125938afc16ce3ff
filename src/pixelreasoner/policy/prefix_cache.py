"""What the group engine remembers: prompts, and the tails of conversations that may go on.

A conversation is a prompt (its first segment) and a tail (all after it). The attempts of a group share one
prompt; each has a tail of its own, which grows turn by turn. A request whose tokens go on from a tail in
memory costs only what is new; one that does not, costs its whole tail, and the result is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from pixelreasoner.chat.layout import Layout, VisualBlock
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models.kv_pool import Slots

SPARE_PROMPTS = 8
"""Prompts kept that no conversation in memory has, the last ones used."""

BlockKey = tuple[str, float]
"""Equal keys are equal pixels at equal times."""


@dataclass(eq=False)
class Prompt:
    """The first segment of conversations."""

    ids: tuple[int, ...]
    """Expanded: a token of a picture counts."""
    blocks: tuple[BlockKey, ...]
    slot: int = -1
    n_tokens: int = 0
    """In the pool: none until it has passed the model, then all."""
    last_D: Tensor | None = None
    """The hidden state of its last token, from which a first message starts."""
    tails: int = 0
    """In memory."""
    speaking: int = 0
    """Tails that are."""


@dataclass(eq=False)
class Tail:
    """What one conversation holds after its prompt, as far as the model has read it."""

    prompt: Prompt
    ids: list[int] = field(default_factory=list[int])
    blocks: tuple[BlockKey, ...] = ()
    slot: int = -1

    @property
    def n_tokens(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Chunk:
    """Tokens that the model has yet to read, at the end of `row`."""

    row: Prompt | Tail
    layout: Layout

    def was_read(self, last_D: Tensor) -> None:
        """Its keys and values are in the pool now; `last_D` is the hidden state of its last token."""
        if isinstance(self.row, Prompt):
            self.row.n_tokens = len(self.layout)
            self.row.last_D = last_D.clone()  # a view would keep the states of the whole pass
        else:
            self.row.ids += self.layout.ids_T.tolist()
            self.row.blocks += _keys(self.layout.blocks)


class Memory:
    """Prompts and tails, each with its place in a pool of keys and values."""

    def __init__(self, n_layers: int, max_tails: int) -> None:
        """At most `max_tails` conversations: beyond that, the one at rest for the longest is forgotten."""
        self.prompts: Slots[Prompt] = Slots(n_layers)
        self.tails: Slots[Tail] = Slots(n_layers)
        self._max_tails = max_tails
        # Both in the order of use, the most recent last.
        self._known: dict[tuple[tuple[int, ...], tuple[BlockKey, ...]], Prompt] = {}
        self._resting: dict[int, Tail] = {}

    def expect(self, n_tails: int) -> None:
        """Make room for so many more conversations at once, rather than again and again."""
        self.tails.pool.reserve(min(len(self.tails) + n_tails, self._max_tails), 0)

    def recall(self, segments: Sequence[Segment], layout: Layout) -> tuple[Tail, list[Chunk]]:
        """The tail of a conversation, awake, and what is to be read before its next token."""
        n_prompt = int(np.searchsorted(layout.owner_T, len(segments[0].ids)))
        assert n_prompt > 0, "a conversation starts with a prompt"
        head, rest = layout.slice(0, n_prompt), layout.slice(n_prompt, len(layout))
        key = tuple(head.ids_T.tolist()), _keys(head.blocks)
        prompt, chunks = self._known.pop(key, None), []
        if prompt is None:
            prompt = Prompt(*key)
            self._make_room_for_prompt()
            self.prompts.add(prompt)
            self.prompts.pool.reserve(0, n_prompt)
            chunks.append(Chunk(prompt, head))
        self._known[key] = prompt

        tail = self._find(prompt, rest) or self._new_tail(prompt)
        new = rest.slice(tail.n_tokens, len(rest))
        if len(new):
            self.tails.pool.reserve(0, len(rest) + 1)
            chunks.append(Chunk(tail, new))
        self._wake(tail)
        return tail, chunks

    def rest(self, tail: Tail, ticket: int) -> None:
        """A conversation stops speaking; `ticket` is how it can be forgotten."""
        self.tails.rest(tail)
        tail.prompt.speaking -= 1
        if not tail.prompt.speaking:
            self.prompts.rest(tail.prompt)
        self._resting[ticket] = tail

    def forget(self, ticket: int) -> None:
        """Give up a conversation at rest, if it is still in memory and has not gone on."""
        tail = self._resting.pop(ticket, None)
        if tail is not None:
            self.tails.drop(tail)
            tail.prompt.tails -= 1

    def _find(self, prompt: Prompt, rest: Layout) -> Tail | None:
        """The longest tail at rest of which `rest` is a continuation; it leaves the list of those at rest."""
        ids, blocks = rest.ids_T.tolist(), _keys(rest.blocks)
        fits = [
            (tail.n_tokens, ticket)
            for ticket, tail in self._resting.items()
            if tail.prompt is prompt
            and tail.n_tokens < len(ids)
            and tail.ids == ids[: tail.n_tokens]
            and tail.blocks == blocks[: len(tail.blocks)]
        ]
        return self._resting.pop(max(fits)[1]) if fits else None

    def _new_tail(self, prompt: Prompt) -> Tail:
        if len(self.tails) >= self._max_tails:
            self.forget(next(iter(self._resting)))
        tail = Tail(prompt)
        self.tails.add(tail)
        prompt.tails += 1
        return tail

    def _make_room_for_prompt(self) -> None:
        spare = [key for key, prompt in self._known.items() if not prompt.tails]
        if len(spare) >= SPARE_PROMPTS:
            self.prompts.drop(self._known.pop(spare[0]))

    def _wake(self, tail: Tail) -> None:
        if not tail.prompt.speaking:
            self.prompts.wake(tail.prompt)
        tail.prompt.speaking += 1
        self.tails.wake(tail)


def _keys(blocks: Sequence[VisualBlock]) -> tuple[BlockKey, ...]:
    return tuple((block.key, block.time_step) for block in blocks)
