"""Slots made in one event loop: while servers are asked about some, others are read, cut and checked.

So many slots are under way that the servers have as many requests as they may have, and no more than their
pictures have room for. A slot comes out when it is done, in any order. A slot for which a server gave no
reply stays undone, and the others go on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from pixelreasoner.core.footprint import n_bytes
from pixelreasoner.core.media import pictures_of
from pixelreasoner.core.task import Task
from pixelreasoner.endpoint.failures import EndpointError, RequestFailedError
from pixelreasoner.endpoint.ledger import OutOfBudgetError
from pixelreasoner.synth.journal import Finished
from pixelreasoner.synth.rejection import Stage
from pixelreasoner.synth.slots import Slot
from pixelreasoner.synth.stage_counts import StageCounts
from pixelreasoner.synth.undone import Undone

T = TypeVar("T")
MakeSlot = Callable[[int, Slot], Coroutine[Any, Any, Finished]]
"""Makes a slot, from its number and what it is."""
PICTURE_BYTES = 2**30
"""Of the pictures of all slots under way, as pixels; a single slot may have more."""
THREADS = min(4, os.cpu_count() or 1)
"""That cut, encode and check. They share the interpreter: more of them only take memory."""
READERS = 2
"""Threads that read tasks; each opens the sources for itself."""


def in_event_loop(
    opened: Callable[[], AbstractAsyncContextManager[MakeSlot]],
    numbered: Iterator[tuple[int, Slot]],
    counts: StageCounts,
    *,
    ahead: int,
    max_failures: int,
    say: Callable[[str], None],
) -> Generator[Finished]:
    """The slots as they are done, in any order.

    Args:
        opened: what makes them, within the event loop.
        numbered: the slots to make.
        counts: takes what happens on the way.
        ahead: slots under way together.
        max_failures: after so many that stay undone no other one is begun.
        say: takes a sentence for the user.

    Raises:
        EndpointError: a server gave no reply for some slots, or refuses all requests. The others are made.
        OutOfBudgetError: the budget is spent; what was under way is made as far as it goes.
        PixelReasonerError: something is wrong with the recipe, or a place cannot be written to.
    """
    crew = _Crew(numbered, counts, ahead, max_failures, say)
    with asyncio.Runner() as runner:
        try:
            runner.run(crew.open(opened()))
            while done := runner.run(crew.next()):
                yield from done
        finally:
            runner.run(crew.close())
    crew.undone.raise_errors()


class _Crew:
    """The slots under way, and those that failed."""

    def __init__(
        self,
        numbered: Iterator[tuple[int, Slot]],
        counts: StageCounts,
        ahead: int,
        max_failures: int,
        say: Callable[[str], None],
    ) -> None:
        self._numbered, self._counts, self._ahead = numbered, counts, ahead
        self._stack = AsyncExitStack()
        self._running: dict[asyncio.Task[Finished], int] = {}
        self.undone = Undone(max_failures, say)

    async def open(self, opened: AbstractAsyncContextManager[MakeSlot]) -> None:
        """Prepare what makes the slots."""
        self._make = await self._stack.enter_async_context(opened)

    async def next(self) -> list[Finished]:
        """The slots that are done next; none when all are done, or stay undone."""
        while True:
            self._begin()
            if not self._running:
                return []
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            if finished := [slot for task in done if (slot := self._taken(task)) is not None]:
                return finished

    async def close(self) -> None:
        """Stop what is under way; replies that had come are in the cache."""
        # A signal raises wherever the loop is, so that `next` may be left half-way, and wait for them too.
        tasks = {*self._running, *asyncio.all_tasks()} - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stack.aclose()

    def _begin(self) -> None:
        while not self.undone.over:
            if len(self._running) >= self._ahead or (item := next(self._numbered, None)) is None:
                return
            self._running[asyncio.create_task(self._make(*item))] = item[0]

    def _taken(self, task: asyncio.Task[Finished]) -> Finished | None:
        """The slot that a task made; None of one that stays undone."""
        number = self._running.pop(task)
        finished: Finished | None = None
        try:
            finished = task.result()
        except RequestFailedError as e:
            self.undone.fail(number, str(e))
        except (EndpointError, OutOfBudgetError) as e:
            # What is under way has been paid for: it goes on until it needs another request.
            self.undone.end(e)
        self._counts.leave(number, made=finished is not None)
        return finished


class EventLoopWorkplace:
    """Where slots are made in an event loop: a `synth.pipeline.Workplace`.

    A few threads read tasks, others cut, encode and check; pictures have a limit in common.
    """

    def __init__(self, counts: StageCounts, most_bytes: int = PICTURE_BYTES) -> None:
        """A workplace.

        Args:
            counts: takes which slot comes to which stage.
            most_bytes: of the pictures under way, as pixels.
        """
        self._counts, self._most = counts, most_bytes
        self._reader = ThreadPoolExecutor(READERS, thread_name_prefix="tasks")
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="slots")
        self._taken, self._freed = 0, asyncio.Event()

    async def read(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, function)

    async def compute(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    @asynccontextmanager
    async def room(self, task: Task) -> AsyncGenerator[None]:
        wanted = task_bytes(task)
        while self._taken and self._taken + wanted > self._most:
            self._freed.clear()
            await self._freed.wait()
        self._taken += wanted
        try:
            yield
        finally:
            self._taken -= wanted
            self._freed.set()

    def enter(self, number: int, stage: Stage) -> None:
        self._counts.enter(number, stage)

    def reject(self, number: int, stage: Stage) -> None:
        self._counts.reject(number, stage)

    def close(self) -> None:
        """End the threads, after what they are doing."""
        for pool in (self._reader, self._pool):
            pool.shutdown(wait=True, cancel_futures=True)


def task_bytes(task: Task) -> int:
    """What a task may take while it is worked on: all its pictures decoded, beside what it holds itself."""
    decoded = sum(p.size.width * p.size.height * 3 for p in pictures_of(task.media))
    return decoded + n_bytes(task)
