"""How fast a server may be asked: requests and tokens per minute, begun evenly."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from pixelreasoner.endpoint.access import PaidServerConfig

BURST_S = 1.0
"""What may be begun at once is what this many seconds allow."""


class Clock(Protocol):
    """Time that passes; a test gives its own."""

    def now(self) -> float:
        """Seconds since some moment."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The time of the machine."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class TokenBucket:
    """Fills evenly; what is taken beyond its content is waited for, in the order of asking."""

    def __init__(self, per_minute: float, clock: Clock) -> None:
        self._per_s = per_minute / 60
        self._most = max(self._per_s * BURST_S, 1.0)
        self._level = self._most
        self._clock = clock
        self._at = clock.now()

    def take(self, n: float) -> float:
        """Take `n` out; the seconds to wait until they are there."""
        self._fill()
        self._level -= n
        return max(-self._level / self._per_s, 0.0)

    def give_back(self, n: float) -> None:
        """Put back what was not used; fewer than none takes more out."""
        self._fill()
        self._level = min(self._level + n, self._most)

    def _fill(self) -> None:
        now = self._clock.now()
        self._level = min(self._level + (now - self._at) * self._per_s, self._most)
        self._at = now


class RateLimits:
    """The limits of one server."""

    def __init__(self, config: PaidServerConfig, clock: Clock) -> None:
        self._clock = clock
        per_minute = (config.requests_per_minute, config.tokens_per_minute)
        self._requests, self._tokens = (None if n is None else TokenBucket(n, clock) for n in per_minute)
        self._closed_until = 0.0

    async def begin(self, tokens: int) -> None:
        """Wait until a request may be begun.

        Args:
            tokens: of prompt and reply, as far as they can be known.
        """
        waits = [0.0 if self._requests is None else self._requests.take(1)]
        waits.append(0.0 if self._tokens is None else self._tokens.take(tokens))
        waits.append(self._closed_until - self._clock.now())
        if (wait_s := max(waits)) > 0:
            try:
                await self._clock.sleep(wait_s)
            except BaseException:
                if self._requests is not None:
                    self._requests.give_back(1)
                self.end(tokens, 0)
                raise

    def end(self, tokens: int, used: int) -> None:
        """Correct what `begin` was told.

        Args:
            tokens: as it was told.
            used: by the request in the end.
        """
        if self._tokens is not None:
            self._tokens.give_back(tokens - used)

    def pause(self, seconds: float) -> None:
        """Begin no request for a while: the server asks for it."""
        self._closed_until = max(self._closed_until, self._clock.now() + seconds)
