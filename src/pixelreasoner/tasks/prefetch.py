"""Making the next item while the present one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Iterates over `make(i)` for each index, one item ahead, in a thread of its own.

    Painting, resizing and hashing leave Python's lock, so they overlap with the model's work.
    """

    def __init__(self, make: Callable[[int], T], indices: Sequence[int]) -> None:
        self._make, self._indices = make, indices
        self._pool = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Prefetch[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[T]:
        ahead: Future[T] | None = None
        for at, index in enumerate(self._indices):
            current = ahead or self._pool.submit(self._make, index)
            more = at + 1 < len(self._indices)
            result = current.result()
            ahead = self._pool.submit(self._make, self._indices[at + 1]) if more else None
            yield result
