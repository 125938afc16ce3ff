"""Slots that stay undone because a server gave no reply, and what ends a run before its last slot."""

from __future__ import annotations

from collections.abc import Callable

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.terminal import visible
from pixelreasoner.endpoint.failures import EndpointError

SHOWN_FAILURES = 3
"""Failures that are named as they happen; the others are counted."""


class Undone:
    """What went wrong with a run's servers so far."""

    def __init__(self, max_failures: int, say: Callable[[str], None]) -> None:
        """Nothing yet.

        Args:
            max_failures: after so many slots that stay undone no other one is begun.
            say: takes a sentence for the user.
        """
        self._max_failures, self._say = max_failures, say
        self._failures: dict[int, str] = {}
        self._ending: PixelReasonerError | None = None
        """Why no other slot is begun, where it is no number of failures."""

    @property
    def over(self) -> bool:
        """Whether no other slot may be begun."""
        return self._ending is not None or len(self._failures) >= self._max_failures

    def fail(self, number: int, why: str) -> None:
        """Slot `number` stays undone; the others go on."""
        self._failures[number] = f"trajectory {number + 1}: {visible(why)}"
        if len(self._failures) <= SHOWN_FAILURES:
            self._say(f"{self._failures[number]}; it stays undone")

    def end(self, error: PixelReasonerError) -> None:
        """Every further slot would meet this error; the first one counts."""
        self._ending = self._ending or error

    def raise_errors(self) -> None:
        """Raise the error of a run that is not complete.

        Raises:
            EndpointError: a server gave no reply for some slots, or refuses all requests.
            PixelReasonerError: the one that every further slot would meet, such as a spent budget.
        """
        if self._ending is not None:
            raise self._ending
        if self._failures:
            raise EndpointError(self._sentence())

    def _sentence(self) -> str:
        n = len(self._failures)
        stopped = (
            f" (max_failures = {self._max_failures}: no other was begun)" if n >= self._max_failures else ""
        )
        return (
            f"{n} {'trajectory' if n == 1 else 'trajectories'} got no reply and {'is' if n == 1 else 'are'} "
            f"undone{stopped}; {self._failures[min(self._failures)]}. What was made is on disk; the same "
            f"command with --resume makes the missing ones"
        )
