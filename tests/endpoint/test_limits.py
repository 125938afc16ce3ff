"""Requests and tokens per minute, with a clock of the test's own."""

from __future__ import annotations

import asyncio

import pytest

from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.limits import RateLimits, TokenBucket


class Clock:
    """Stands still but for those who sleep, one after the other."""

    def __init__(self) -> None:
        self.time = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


def limits(clock: Clock, **values: int) -> RateLimits:
    return RateLimits(PaidServerConfig(url="http://x/v1", model="m", **values), clock)


def test_requests_are_begun_evenly():
    clock = Clock()
    bucket = TokenBucket(30, clock)  # one in two seconds
    assert [bucket.take(1) for _ in range(4)] == [0, 2, 4, 6]
    clock.time += 6
    assert bucket.take(1) == 2
    clock.time += 1000  # what was not used is not saved up, beyond one
    assert [bucket.take(1) for _ in range(2)] == [0, 2]


def test_a_second_of_a_fast_limit_is_begun_at_once():
    bucket = TokenBucket(600, Clock())
    assert [bucket.take(1) for _ in range(12)] == pytest.approx([0] * 10 + [0.1, 0.2])


def test_in_a_minute_no_more_than_the_limit_and_a_burst():
    clock = Clock()
    found = limits(clock, requests_per_minute=120, tokens_per_minute=6000)

    async def asks() -> int:
        n, end = 0, clock.time + 60
        while True:
            await found.begin(200)  # tokens allow 30 in a minute, requests 120
            if clock.time > end:
                return n
            n += 1
            found.end(200, 200)

    assert asyncio.run(asks()) == 30


def test_tokens_that_were_not_used_are_given_back():
    clock = Clock()
    found = limits(clock, tokens_per_minute=600)  # 10 a second, and 10 at first

    async def asks() -> None:
        await found.begin(110)
        found.end(110, 10)
        await found.begin(10)

    asyncio.run(asks())
    assert clock.slept == pytest.approx([10.0])  # for the 100 more than there were; then what came back does


def test_a_pause_that_the_server_asks_for_holds_all_requests():
    clock = Clock()
    found = limits(clock)

    async def asks() -> None:
        await found.begin(1)
        found.pause(7)
        found.pause(3)
        await found.begin(1)
        await found.begin(1)

    asyncio.run(asks())
    assert clock.slept == [7]


def test_who_is_cancelled_while_waiting_gives_his_turn_back():
    class Stuck(Clock):
        async def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)
            await asyncio.Event().wait()

    clock = Stuck()
    found = limits(clock, requests_per_minute=60)

    async def asks() -> None:
        await found.begin(1)
        waiting = asyncio.create_task(found.begin(1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        clock.time += 1
        await found.begin(1)  # at once: the place of the other

    asyncio.run(asyncio.wait_for(asks(), 5))
    assert clock.slept == [1]
