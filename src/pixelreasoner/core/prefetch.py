"""A map that works ahead of whoever takes the results, by a bounded number of items and in order.

One result in use and one in the making, in a thread of its own::

    with ThreadPoolExecutor(1) as pool, closing(prefetch(pool, batch_of, steps, ahead=2)) as batches:
        for batch in batches: ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def prefetch(pool: Executor, function: Callable[[T], R], items: Iterable[T], *, ahead: int) -> Generator[R]:
    """`function` of each item, in order; at most `ahead` results wait to be taken.

    `Executor.map` submits everything at once, and results as large as pictures would fill the memory. An
    exception of `function` is raised when its result is due; what was submitted after it is cancelled, as it
    is when the generator is closed.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
