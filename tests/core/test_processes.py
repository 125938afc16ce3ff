"""Workers end with the block that started them, whatever ends it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import Future

import pytest

from pixelreasoner.core.processes import worker_processes


def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def interrupt_itself(_: int) -> str:
    os.kill(os.getpid(), signal.SIGINT)
    return "still there"


def test_no_worker_is_left_when_the_block_is_left_by_an_error():
    futures: list[Future[int]] = []

    def fail() -> None:
        with worker_processes(2) as pool:
            futures.extend(pool.submit(sleep, 0.1) for _ in range(400))
            assert futures[0].result() != os.getpid()
            assert multiprocessing.active_children()
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail()
    assert multiprocessing.active_children() == []
    assert futures[-1].cancelled(), "what was waiting is not worked off"


def test_an_interrupt_is_left_to_the_process_that_holds_the_pool():
    with worker_processes(1) as pool:
        assert pool.submit(interrupt_itself, 0).result() == "still there"
