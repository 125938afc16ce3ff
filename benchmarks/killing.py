"""In a process that is to be killed: every point at which it touches its disk, counted; SIGKILL at the k-th.

The points are the moments before a file is opened for writing, renamed, removed, cut or brought to the disk,
before a folder is made or removed, and within a line that is appended (half of it is written). They are found
from outside, by an audit hook and around `os.fsync` and `os.write`: the package knows nothing of it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")


class DiskPoints:
    """Counts the points below a folder."""

    def __init__(self, folder: Path, kill_at: int | None) -> None:
        """For `folder`; `kill_at` counts from 1, None never kills."""
        self._folder, self._kill_at = str(folder.resolve()), kill_at
        self._lock = Lock()
        self.count = 0
        self.own: list[int] = []
        """The points at the folder itself and at what lies directly in it."""

    def install(self) -> None:
        """Count from now on, until the process ends."""
        sys.addaudithook(self._on_event)
        real_fsync, real_write = os.fsync, os.write

        def fsync(descriptor: int) -> None:
            self._reached(f"/proc/self/fd/{descriptor}")
            real_fsync(descriptor)

        def write(descriptor: int, data: Any) -> int:
            half = memoryview(data)[: len(data) // 2]
            self._reached(f"/proc/self/fd/{descriptor}", first=lambda: real_write(descriptor, half))
            return real_write(descriptor, data)

        os.fsync, os.write = fsync, write

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes, os.PathLike)) and flags & WRITES:
                self._reached(os.fsdecode(path))
        elif event in EVENTS and isinstance(arguments[0], (str, bytes, os.PathLike)):
            self._reached(os.fsdecode(arguments[0]))

    def _reached(self, path: str, first: Callable[[], object] | None = None) -> None:
        place = os.path.realpath(path)
        if not place.startswith(self._folder):
            return
        with self._lock:
            self.count += 1
            if self._folder in (place, os.path.dirname(place)):
                self.own.append(self.count)
            if self.count == self._kill_at:
                if first is not None:
                    first()
                os.kill(os.getpid(), signal.SIGKILL)
