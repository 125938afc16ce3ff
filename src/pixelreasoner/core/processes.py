"""Worker processes that end with the run that started them."""

from __future__ import annotations

import signal
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context


@contextmanager
def worker_processes(n: int) -> Generator[ProcessPoolExecutor]:
    """A pool of `n` fresh processes; leaving the block drops what is waiting and ends them, error or not.

    They are spawned: forking a process that holds torch's threads can hang. A Ctrl-C reaches the process
    that holds the pool alone, which then leaves the block.
    """
    pool = ProcessPoolExecutor(n, mp_context=get_context("spawn"), initializer=_ignore_interrupts)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
