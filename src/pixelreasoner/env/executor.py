"""Work on threads of its own, so that the caller goes on meanwhile: operations beside generation."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import Generic, TypeVar

from pixelreasoner.core.trajectory import Observation

R = TypeVar("R")


class DaemonPool(Generic[R]):
    """A pool of threads that are started when they are needed.

    They are daemons, unlike those of `concurrent.futures`: an operation that never returns does not keep the
    program from ending.
    """

    def __init__(self, max_workers: int) -> None:
        """At most `max_workers` operations run at the same time; the others wait in order."""
        self._max_workers = max_workers
        self._jobs: SimpleQueue[tuple[Future[R], Callable[[], R]] | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._threads: list[Thread] = []

    def submit(self, operation: Callable[[], R]) -> Future[R]:
        """Queue an operation. What it raises, the future raises where its result is taken."""
        future: Future[R] = Future()
        self._jobs.put((future, operation))
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._max_workers:
            thread = Thread(target=self._work, name=f"operations-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def cancel(self) -> None:
        """Begin no other operation, and end each thread when its operation returns."""
        while not self._jobs.empty():
            if (job := self._jobs.get()) is not None:
                job[0].cancel()
        for _ in self._threads:
            self._jobs.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait for the operations that run, at most `timeout_s` for all of them; `cancel` comes first."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, operation = job
            if future.set_running_or_notify_cancel():
                try:
                    observation = operation()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(observation)
            self._idle.release()


class ToolExecutor(DaemonPool[Observation]):
    """The pool on which the visual operations of rollouts run."""
