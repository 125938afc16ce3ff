"""Workers end with the block that started them, whatever ends it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.processes import worker_processes


def sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def interrupt_itself(number: int) -> str:
    os.kill(os.getpid(), number)
    return "still there"


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_left_to_the_process_that_holds_the_pool(number: int):
    with worker_processes(1) as pool:
        assert pool.submit(interrupt_itself, number).result() == "still there"


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_worker_that_was_killed_is_said():
    with (
        pytest.raises(PixelReasonerError, match=r"worker process was killed.*--resume"),
        worker_processes(1) as pool,
    ):
        pool.submit(die, 0).result()


PARENT = """
import os, time
from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.processes import worker_processes
if __name__ == "__main__":
    with worker_processes(2) as pool:
        print(*{pool.submit(os.getpid).result() for _ in range(2)}, flush=True)
        pool.submit(time.sleep, 60)
        time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    src = str(Path(__file__).parents[2] / "src")
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": src},
    )  # fmt: skip
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert workers
    parent.kill()
    parent.wait()
    parent.stdout.read()  # ends once no worker holds it any more
    parent.stdout.close()
    assert not any(_runs(pid) for pid in workers)


def _runs(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "zombie" not in status.read_text()
