"""Memory for keys and values: rows of tokens that are allocated, grow, are preempted and are resumed.

Shape legend: R rows, H key-value heads, K tokens of room, D head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from torch import Tensor

BLOCK_SIZE = 64
"""Room for tokens is allocated in multiples of this."""


def in_blocks(tokens: int) -> int:
    """`tokens`, rounded up to whole blocks."""
    return -(-tokens // BLOCK_SIZE) * BLOCK_SIZE


class KeyValuePool:
    """Keys and values of many rows, one tensor [2, R, H, K, D] per layer; a row's tokens lie from 0 on.

    The caller knows how many tokens a row holds. What lies after them is never read, but masked attention
    multiplies it by zero: it starts as zeros, and so is always finite.
    """

    def __init__(self, n_layers: int) -> None:
        self.rows = self.tokens = 0
        self.version = 0
        """Counts how often tensors were replaced by others."""
        self._layers: list[Tensor | None] = [None] * n_layers

    @property
    def capacity(self) -> int:
        """Tokens of room, of all rows together."""
        return self.rows * self.tokens

    def grown(self, rows: int, tokens: int) -> tuple[int, int]:
        """The size (rows, tokens) that `reserve` gives the pool.

        It has spare room, so that growing by one again and again copies each token a few times only.
        """
        if rows > self.rows:
            rows = max(rows, self.rows + self.rows // 2)
        if tokens > self.tokens:
            tokens = in_blocks(max(tokens, self.tokens + self.tokens // 2))
        return max(rows, self.rows), max(tokens, self.tokens)

    def reserve(self, rows: int, tokens: int) -> None:
        """Make room for at least so many rows and so many tokens in each."""
        if rows > self.rows or tokens > self.tokens:
            self.resize(*self.grown(rows, tokens))

    def resize(self, rows: int, tokens: int) -> None:
        """Make it exactly so large; what lies beyond is lost. One layer at a time is in memory twice."""
        both_rows, both_tokens = min(rows, self.rows), min(tokens, self.tokens)
        self.rows, self.tokens = rows, tokens
        for index, held in enumerate(self._layers):
            if held is not None:
                self._layers[index] = resized = self._allocate(held)
                resized[:, :both_rows, :, :both_tokens] = held[:, :both_rows, :, :both_tokens]

    def layer(self, index: int, like: Tensor | None = None) -> Tensor:
        """Everything of one layer, [2, R, H, K, D].

        `like` [..., H, T, D] gives heads, width, dtype and device to a layer that was never written.
        """
        held = self._layers[index]
        if held is None:
            assert like is not None, "read before it was written"
            held = self._layers[index] = self._allocate(like)
        return held

    def allocate_like(self, other: KeyValuePool) -> None:
        """Allocate layers that were never written, with heads, width, dtype and device of another pool's."""
        for index, held in enumerate(self._layers):
            if held is None:
                self.layer(index, other.layer(index))

    def swap(self, a: int, b: int, tokens: int) -> None:
        """Exchange the first `tokens` tokens of two rows."""
        for held in self._layers:
            if held is not None:
                kept = held[:, a, :, :tokens].clone()
                held[:, a, :, :tokens] = held[:, b, :, :tokens]
                held[:, b, :, :tokens] = kept

    def _allocate(self, like: Tensor) -> Tensor:
        self.version += 1
        return like.new_zeros(2, self.rows, like.shape[-3], self.tokens, like.shape[-1])


class Row(Protocol):
    """What occupies a slot, one row of a pool."""

    slot: int
    """Its row; set by the `SlotAllocator`."""

    @property
    def n_tokens(self) -> int:
        """How many tokens of it are in the pool."""
        ...


R = TypeVar("R", bound=Row)


class SlotAllocator(Generic[R]):
    """Assigns the rows of a pool: the running ones are rows [0, n_running), the preempted ones follow.

    Running rows side by side are a view of the pool, so that a step of decoding copies nothing; a row that
    is resumed or preempted changes places with one other row.
    """

    def __init__(self, n_layers: int) -> None:
        self.pool = KeyValuePool(n_layers)
        self.n_running = 0
        self._rows: list[R] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[R]:
        """In the order of their slots."""
        return iter(self._rows)

    @property
    def running(self) -> list[R]:
        """In the order of their slots."""
        return self._rows[: self.n_running]

    def add(self, row: R) -> None:
        """A new row, preempted, without tokens."""
        row.slot = len(self._rows)
        self._rows.append(row)
        self.pool.reserve(len(self._rows), 0)

    def evict(self, row: R) -> None:
        """Give up a preempted row."""
        assert self._rows[row.slot] is row
        assert row.slot >= self.n_running, "a running row is evicted"
        self._exchange(row.slot, len(self._rows) - 1)
        self._rows.pop()

    def resume(self, row: R) -> None:
        """Make a preempted row the last of the running ones."""
        assert row.slot >= self.n_running, "a running row is resumed"
        self._exchange(row.slot, self.n_running)
        self.n_running += 1

    def preempt(self, row: R) -> None:
        """Set a running row aside."""
        assert row.slot < self.n_running, "a preempted row is preempted"
        self.n_running -= 1
        self._exchange(row.slot, self.n_running)

    def _exchange(self, a: int, b: int) -> None:
        if a == b:
            return
        first, second = self._rows[a], self._rows[b]
        self.pool.swap(a, b, max(first.n_tokens, second.n_tokens))
        self._rows[a], self._rows[b] = second, first
        first.slot, second.slot = b, a
