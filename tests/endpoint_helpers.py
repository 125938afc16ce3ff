"""What tests ask a real server on this machine with, and how it fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from threading import Lock
from typing import Any, TypeVar

from pydantic import BaseModel

from benchmarks.chat_server import Answer, Body, ChatServer
from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.asker import Asker
from pixelreasoner.endpoint.cache import MemoryCache, ResponseCache
from pixelreasoner.endpoint.ledger import Ledger
from pixelreasoner.endpoint.limits import Clock
from pixelreasoner.endpoint.requests import ChatRequest

R = TypeVar("R")


class Wanted(BaseModel):
    n: int


def request(words: str = "Which?", **fields: Any) -> ChatRequest:
    return ChatRequest("write", ({"role": "user", "content": words},), **fields)


def asks(
    server: ChatServer | str,
    work: Callable[[Asker], Awaitable[R]],
    *,
    cache: ResponseCache | None = None,
    ledger: Ledger | None = None,
    clock: Clock | None = None,
    **config: Any,
) -> R:
    """What some work with an asker gives; the server is ours, or an address."""
    url = server if isinstance(server, str) else server.url
    table = {"url": url, "model": "m", "retry_wait_s": 0.01, "retry_max_wait_s": 0.02, "retries": 2}

    async def run() -> R:
        asker = Asker(
            PaidServerConfig(**(table | config)), cache or MemoryCache(), ledger or Ledger(),
            section="teacher", clock=clock,
        )  # fmt: skip
        try:
            return await asyncio.wait_for(_awaited(work(asker)), 20)
        finally:
            await asker.close()

    return asyncio.run(run())


async def _awaited(work: Awaitable[R]) -> R:
    return await work


def words_of(body: Body) -> str:
    return body["messages"][0]["content"]


PRICES = {"usd_per_million_prompt_tokens": 1000.0, "usd_per_million_completion_tokens": 10_000.0}


FAULTS = {
    "busy": Answer(status=429, error="busy", headers={"Retry-After": "0"}),
    "broken": Answer(status=500, error="broken"),
    "cut JSON": Answer(raw=b'{"choices": [{"message": {"content": "a'),
    "no message": Answer(raw=b'{"choices": []}'),
    "a page": Answer(raw=b"<html>at capacity</html>"),
    "cut body": Answer("a", content_length=100_000),
    "late": Answer("a", delay_s=1.0),
}


class Faulty:
    """A fault in place of the first `times` replies to each request."""

    def __init__(self, fault: Answer, times: int) -> None:
        self.fault, self.times = fault, times
        self.asked: Counter[str] = Counter()
        self._lock = Lock()

    def __call__(self, body: Body) -> Answer:
        with self._lock:
            self.asked[words_of(body)] += 1
            n = self.asked[words_of(body)]
        return self.fault if n <= self.times else Answer(f"to {words_of(body)}")


class Waits:
    """A clock that sleeps for no time, and takes note."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)
