"""Locks on files that end with the process that holds them, however it ends."""

from __future__ import annotations

import time
from enum import Enum

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None

TRIES = 5
"""Somebody who asks whether a file is locked holds the lock for a moment himself."""


class Lock(Enum):
    """What became of an attempt to lock a file."""

    HELD = "held"
    """By this process, until the file is closed."""
    TAKEN = "taken"
    """By another process."""
    UNSUPPORTED = "unsupported"
    """By the system, or by its file system."""


def try_lock(descriptor: int, *, shared: bool = False, tries: int = 1) -> Lock:
    """Lock an open file, without waiting.

    Args:
        descriptor: of the file.
        shared: together with others that share it, and with nobody who does not.
        tries: how often, 50 ms apart.
    """
    if fcntl is None:
        return Lock.UNSUPPORTED
    for attempt in range(tries):
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return Lock.HELD
        except BlockingIOError:
            time.sleep(0.05 if attempt < tries - 1 else 0)
        except OSError:
            return Lock.UNSUPPORTED
    return Lock.TAKEN
