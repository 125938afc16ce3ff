"""Runs a function in several processes that have joined, as torchrun's have; forked, which is quick."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from pixelreasoner.core import records
from pixelreasoner.learn.processes import Processes, TorchProcesses

TIMEOUT_S = 120.0


def in_processes(n: int, folder: Path, work: Callable[[Processes], Any]) -> list[Any]:
    """What `work` returns in each of `n` processes, in their order; it may be any function, with its closure.

    Args:
        n: processes; they find each other through a file.
        folder: for that file and the results, which torch can save.
        work: called in each process with what joins them.
    """
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_run, args=(rank, n, folder, work)) for rank in range(n)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT_S)
    for process in processes:
        if process.is_alive():
            process.kill()
    errors = [path.read_text() for path in sorted(folder.glob("error-*"))]
    assert not errors, "\n".join(errors)
    assert [process.exitcode for process in processes] == [0] * n
    return [torch.load(folder / f"result-{rank}", weights_only=False) for rank in range(n)]


def _run(rank: int, n: int, folder: Path, work: Callable[[Processes], Any]) -> None:
    records._threads.cache_clear()  # threads do not come along
    try:
        dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=n)
        torch.save(work(TorchProcesses()), folder / f"result-{rank}")
        dist.destroy_process_group()
    except BaseException:
        (folder / f"error-{rank}").write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)  # nothing of pytest's is to be run here
