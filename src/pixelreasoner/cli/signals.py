"""Ctrl-C and SIGTERM for a whole command: no traceback at any second, and nothing is left running.

The first signal raises `KeyboardInterrupt` (`Terminated` for SIGTERM), so that what is under way cleans up
behind itself; a training run saves first (`train.progress.Interruptible`). The process ends at once where
raising would do harm: while a module is being imported, within a finalizer, and at a second signal, while the
first one is cleaned up after. A run goes on from what is on disk, whatever ended it.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from pixelreasoner.core.errors import Terminated

_IMPORT = "<frozen importlib._bootstrap>"


class Interrupts:
    """The handler of both signals."""

    def __init__(self) -> None:
        self._raised = False

    def install(self) -> None:
        """Handle the signals from now on, until the process ends. Main thread only."""
        # One that is ignored from outside (nohup, a shell's background job) stays so.
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        sys.unraisablehook = _on_unraisable

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._raised or _importing(frame):
            _end(number)
        self._raised = True
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _on_unraisable(unraisable: Any) -> None:
    """End where the interrupt came to something that cannot raise, such as a finalizer, and would be lost."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        _end(exit_code(unraisable.exc_value) - 128)
    sys.__unraisablehook__(unraisable)


def _end(number: int) -> NoReturn:
    with suppress(OSError):
        os.write(2, b"Interrupted.\n")
    os._exit(128 + number)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """130 of Ctrl-C, 143 of SIGTERM, as shells have them."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False
