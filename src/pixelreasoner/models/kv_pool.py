"""Memory for keys and values: rows of tokens that come, grow, are set aside and are taken up again.

Shape legend: R rows, H key-value heads, K tokens of room, D head width.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from torch import Tensor

SLAB = 64
"""Tokens of room are made in multiples of this."""


class KeyValuePool:
    """Keys and values of many rows, one tensor [2, R, H, K, D] per layer; a row's tokens lie from 0 on.

    Who writes knows how many tokens a row holds. What lies after them is never read, but masked attention
    multiplies it by zero: it starts as zeros, and so is always finite.
    """

    def __init__(self, n_layers: int) -> None:
        self.rows = self.tokens = 0
        self._layers: list[Tensor | None] = [None] * n_layers

    def reserve(self, rows: int, tokens: int) -> None:
        """Make room, with some to spare, so that growing by one again and again copies each token little."""
        if rows <= self.rows and tokens <= self.tokens:
            return
        if rows > self.rows:
            self.rows = max(rows, self.rows + self.rows // 2)
        if tokens > self.tokens:
            self.tokens = -(-max(tokens, self.tokens + self.tokens // 2) // SLAB) * SLAB
        for index, held in enumerate(self._layers):
            if held is not None:
                self._layers[index] = grown = self._room(held)
                grown[:, : held.shape[1], :, : held.shape[3]] = held

    def layer(self, index: int, like: Tensor | None = None) -> Tensor:
        """Everything of one layer, [2, R, H, K, D].

        `like` [..., H, T, D] gives heads, width, dtype and device to a layer that was never written.
        """
        held = self._layers[index]
        if held is None:
            assert like is not None, "read before it was written"
            held = self._layers[index] = self._room(like)
        return held

    def swap(self, a: int, b: int, tokens: int) -> None:
        """Exchange the first `tokens` tokens of two rows."""
        for held in self._layers:
            if held is not None:
                kept = held[:, a, :, :tokens].clone()
                held[:, a, :, :tokens] = held[:, b, :, :tokens]
                held[:, b, :, :tokens] = kept

    def _room(self, like: Tensor) -> Tensor:
        return like.new_zeros(2, self.rows, like.shape[-3], self.tokens, like.shape[-1])


class Row(Protocol):
    """What lives in a row of a pool."""

    slot: int
    """Its row; set by `Slots`."""

    @property
    def n_tokens(self) -> int:
        """How many tokens of it are in the pool."""
        ...


R = TypeVar("R", bound=Row)


class Slots(Generic[R]):
    """Who lives in which row of a pool: the busy ones in rows [0, n_busy), those at rest after them.

    Busy rows side by side are a view of the pool, so that a step of decoding copies nothing; a row that
    joins or leaves changes places with one other row.
    """

    def __init__(self, n_layers: int) -> None:
        self.pool = KeyValuePool(n_layers)
        self.n_busy = 0
        self._rows: list[R] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def busy(self) -> list[R]:
        """In the order of their rows."""
        return self._rows[: self.n_busy]

    def add(self, row: R) -> None:
        """A new row, at rest, without tokens."""
        row.slot = len(self._rows)
        self._rows.append(row)
        self.pool.reserve(len(self._rows), 0)

    def drop(self, row: R) -> None:
        """Give up a row at rest."""
        assert self._rows[row.slot] is row
        assert row.slot >= self.n_busy, "a busy row is dropped"
        self._exchange(row.slot, len(self._rows) - 1)
        self._rows.pop()

    def wake(self, row: R) -> None:
        """Make a row at rest the last of the busy ones."""
        assert row.slot >= self.n_busy, "a busy row is woken"
        self._exchange(row.slot, self.n_busy)
        self.n_busy += 1

    def rest(self, row: R) -> None:
        """Set a busy row aside."""
        assert row.slot < self.n_busy, "a row at rest is laid to rest"
        self.n_busy -= 1
        self._exchange(row.slot, self.n_busy)

    def _exchange(self, a: int, b: int) -> None:
        if a == b:
            return
        first, second = self._rows[a], self._rows[b]
        self.pool.swap(a, b, max(first.n_tokens, second.n_tokens))
        self._rows[a], self._rows[b] = second, first
        first.slot, second.slot = b, a
