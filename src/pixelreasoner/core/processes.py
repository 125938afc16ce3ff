"""Worker processes that end with the run that started them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from threading import Thread

from pixelreasoner.core.errors import PixelReasonerError


class _Worker(SpawnProcess):
    """A process that no Ctrl-C and no SIGTERM reaches, from its very first moment."""

    def start(self) -> None:
        if sys.platform == "win32":
            super().start()
            return
        # A new process inherits what is blocked. Here the signals are delivered right after.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Context(SpawnContext):
    Process = _Worker


@contextmanager
def worker_processes(n: int) -> Generator[ProcessPoolExecutor]:
    """A pool of `n` fresh processes; leaving the block drops what is waiting and ends them, error or not.

    They are spawned: forking a process that holds torch's threads can hang. Ctrl-C and SIGTERM reach the
    process that holds the pool alone, which then leaves the block; when it is killed, they end too.

    Raises:
        PixelReasonerError: one of them was killed.
    """
    pool = ProcessPoolExecutor(n, mp_context=_Context(), initializer=_end_with_parent)
    try:
        yield pool
    except BrokenProcessPool as e:
        raise PixelReasonerError(
            "a worker process was killed, by the system when memory ran out, say; give fewer (workers=1) "
            "and go on with --resume"
        ) from e
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """In a worker: end it when the process that started it is gone, which cannot say so when it is killed."""
    parent = parent_process()
    assert parent is not None, "called in a worker"

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, name="parent", daemon=True).start()
