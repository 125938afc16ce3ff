"""CUDA graphs: a function that reads and writes memory of fixed addresses, launched as a whole.

A step of decoding launches some two thousand kernels, and Python takes several times as long to launch them
as a GPU takes to run them. A captured step is launched by one call.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import torch

LOG = logging.getLogger("pixelreasoner")
GRAPH_BYTES = 2**30
"""Device memory of all graphs of a session together; the last one may go beyond it, and is given up."""
MOST_FAILURES = 3
"""Sessions of a process in which a capture failed, before none is tried any more: each leaves some memory."""


class Replayable(Protocol):
    """A function that was captured."""

    def replay(self) -> None:
        """Run it again, on what its memory holds now."""
        ...


class Capture(Protocol):
    """A way of capturing functions."""

    def __call__(self, function: Callable[[], None]) -> Replayable | None:
        """Run `function` once and capture it; None where it cannot be captured, which changes nothing."""
        ...

    def clear(self) -> None:
        """All that was captured is given up by the caller: its memory may be used anew."""
        ...


class CudaCapture:
    """Captures on a stream of its own. All graphs share one pool of memory, since one runs at a time.

    When a function cannot be captured, the reason is logged, once, and no other is tried in this session.
    """

    n_failed: ClassVar[int] = 0
    """In this process."""

    def __init__(self, device: torch.device, *, most_bytes: int = GRAPH_BYTES) -> None:
        """Graphs for `device`, which hold `most_bytes` of it at the most."""
        self._device, self._most_bytes = device, most_bytes
        self._failed = self.n_failed >= MOST_FAILURES
        self._stream: torch.cuda.Stream | None = None
        self.clear()

    def clear(self) -> None:
        self.n_bytes = 0
        self._is_full = False
        self._pool: Any = None

    def __call__(self, function: Callable[[], None]) -> Replayable | None:
        if self._failed or self._is_full:
            function()
            return None
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        before = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(before)
        with torch.cuda.stream(self._stream):
            function()  # what libraries allocate for this stream is there before the capture
            graph = self._captured(function, self._pool)
        before.wait_stream(self._stream)
        return graph

    def _captured(self, function: Callable[[], None], pool: Any) -> Replayable | None:
        if torch.cuda.mem_get_info(self._device)[0] < self._most_bytes:
            torch.cuda.empty_cache()  # the allocator gives nothing back during a capture
        held = torch.cuda.memory_reserved(self._device)
        graph = torch.cuda.CUDAGraph()
        try:
            with _no_collection():
                # Other threads may go on to allocate meanwhile.
                graph.capture_begin(pool=pool, capture_error_mode="thread_local")
                try:
                    function()
                finally:
                    graph.capture_end()
        except (
            Exception
        ) as e:  # the function has just run: whatever this is, the run can go on without graphs
            self._failed = True
            CudaCapture.n_failed += 1
            with suppress(RuntimeError):  # where the end of a failed capture left it open
                torch._C._cuda_endAllocateToPool(self._device.index or 0, pool)
            first = e.__context__ or e  # what came up during the capture, before its end failed too
            _say_once((str(first).strip() or type(first).__name__).splitlines()[0])
            return None
        self.n_bytes += max(0, torch.cuda.memory_reserved(self._device) - held)
        if self.n_bytes > self._most_bytes:
            self._is_full = True
            LOG.info("steps of further shapes are not captured: CUDA graphs hold %d bytes", self.n_bytes)
            return None
        return graph


@lru_cache  # each session tries again
def _say_once(reason: str) -> None:
    LOG.warning("decoding goes on without CUDA graphs: a step could not be captured (%s)", reason)


@contextmanager
def _no_collection() -> Iterator[None]:
    """What the garbage collector frees could not be freed during a capture."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
