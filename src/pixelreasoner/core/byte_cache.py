"""Arrays kept within a budget of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

K = TypeVar("K", bound=Hashable)
Pixels = npt.NDArray[np.uint8]


class ByteCache(Generic[K]):
    """Pixels by key; the least recently used leave first. Threads may share it.

    The arrays together never hold more than `max_bytes`. One that is larger by itself is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._kept: OrderedDict[K, Pixels] = OrderedDict()
        self._lock = Lock()
        self.max_bytes = max_bytes
        self.n_bytes = 0

    def get(self, key: K) -> Pixels | None:
        """What is kept under a key."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: K, pixels: Pixels) -> None:
        """Keep an array, made read-only; equal keys are equal arrays, and the first of them stays."""
        pixels.flags.writeable = False
        with self._lock:
            if key in self._kept or pixels.nbytes > self.max_bytes:
                return
            self._shrink(self.max_bytes - pixels.nbytes)
            self._kept[key] = pixels
            self.n_bytes += pixels.nbytes

    def resize(self, max_bytes: int) -> None:
        """Another budget from now on."""
        with self._lock:
            self.max_bytes = max_bytes
            self._shrink(max_bytes)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._shrink(0)

    def _shrink(self, n_bytes: int) -> None:
        while self.n_bytes > n_bytes:
            self.n_bytes -= self._kept.popitem(last=False)[1].nbytes
