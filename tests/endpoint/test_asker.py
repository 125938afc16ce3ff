"""Asking a real server on this machine, which fails in all manners."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import pytest
from pydantic import BaseModel

from benchmarks.chat_server import Answer, Body, ChatServer, pictures_in, serving
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.media import Picture
from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.asker import REJECTED_AT_FIRST, Asker
from pixelreasoner.endpoint.cache import MemoryCache, ResponseCache, SqliteCache
from pixelreasoner.endpoint.failures import EndpointError, RequestFailedError, UnusableReplyError
from pixelreasoner.endpoint.ledger import Budget, Ledger, OutOfBudgetError, Spending, total
from pixelreasoner.endpoint.limits import Clock
from pixelreasoner.endpoint.requests import ChatRequest, picture_part, text_part

pytest.importorskip("openai")

R = TypeVar("R")


class Wanted(BaseModel):
    n: int


def request(words: str = "Which?", **fields: Any) -> ChatRequest:
    return ChatRequest("write", ({"role": "user", "content": words},), **fields)


def asks(
    server: ChatServer,
    work: Callable[[Asker], Awaitable[R]],
    *,
    cache: ResponseCache | None = None,
    ledger: Ledger | None = None,
    clock: Clock | None = None,
    **config: Any,
) -> R:
    """What some work with an asker gives."""
    table = {"url": server.url, "model": "m", "retry_wait_s": 0.01, "retry_max_wait_s": 0.02, "retries": 2}

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


def test_a_reply_is_asked_for_once_and_is_on_disk_for_the_next_process(tmp_path: Path):
    with serving(lambda body: Answer("It is K.")) as server:
        for _ in range(2):
            with SqliteCache(tmp_path / "c") as cache:
                ledger = Ledger(before=cache.totals())
                assert (
                    asks(server, lambda a: a.text(request()), cache=cache, ledger=ledger, **PRICES)
                    == "It is K."
                )
                assert total(ledger.spent).usd == pytest.approx(100 * 1e-3 + 10 * 1e-2)
        assert ledger.now == {"write": Spending(from_cache=1)}
    assert len(server.requests) == 1


def test_what_is_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", "secret")
    picture = Picture(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))
    asked = ChatRequest(
        "write", ({"role": "user", "content": [text_part("Zürich?"), picture_part(picture)]},), 0.5, 77, 5
    )
    with serving(lambda body: Answer("yes")) as server:
        asks(server, lambda a: a.text(asked), api_key_env="MY_KEY", extra={"top_k": 1})
    (body,) = server.requests
    assert server.headers[0]["authorization"] == "Bearer secret"
    assert server.headers[0]["content-type"] == "application/json"
    (pixels,) = pictures_in(body["messages"][0])
    assert np.array_equal(pixels, picture.pixels)
    assert body["messages"][0]["content"][0] == {"type": "text", "text": "Zürich?"}
    assert (body["model"], body["temperature"], body["max_completion_tokens"]) == ("m", 0.5, 77)
    assert (body["seed"], body["top_k"]) == (5, 1)


def test_equal_requests_under_way_are_one():
    async def work(asker: Asker) -> list[str]:
        return await asyncio.gather(*(asker.text(request()) for _ in range(10)))

    ledger = Ledger()
    with serving(lambda body: Answer("a", delay_s=0.1)) as server:
        assert asks(server, work, ledger=ledger) == ["a"] * 10
    assert len(server.requests) == 1
    assert ledger.now == {"write": Spending(1, 100, 10, from_cache=9)}


def test_no_more_under_way_than_there_are_places():
    async def work(asker: Asker) -> None:
        await asyncio.gather(*(asker.text(request(str(i))) for i in range(12)))

    with serving(lambda body: Answer("a", delay_s=0.05)) as server:
        asks(server, work, concurrency=3)
    assert server.most_together == 3
    assert len(server.requests) == 12


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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_tried_again(fault: str):
    ledger = Ledger()
    with serving(Faulty(FAULTS[fault], times=2)) as server:
        assert asks(server, lambda a: a.text(request("x")), ledger=ledger, timeout_s=0.3) == "to x"
    assert len(server.requests) == 3
    assert ledger.now == {"write": Spending(1, 100, 10, failed_tries=2)}


@pytest.mark.parametrize(
    ("fault", "said"),
    [("broken", r"status 500: .*broken.* \(3 tries\)"), ("late", r"no reply in 0\.3 s \(3 tries\)")],
)
def test_a_request_without_a_reply_fails_and_may_be_made_again(fault: str, said: str):
    cache = MemoryCache()
    with serving(Faulty(FAULTS[fault], times=3)) as server:
        with pytest.raises(RequestFailedError, match=said):
            asks(server, lambda a: a.text(request("x")), cache=cache, timeout_s=0.3)
        assert asks(server, lambda a: a.text(request("x")), cache=cache, timeout_s=0.3) == "to x"


def test_a_server_that_is_not_there():
    with serving(lambda body: Answer("a")) as server:
        pass
    with pytest.raises(RequestFailedError, match="no connection: "):
        asks(server, lambda a: a.text(request()), retries=0)


def test_one_who_sends_bit_by_bit_does_not_get_round_the_time_out():
    def slow(body: Body) -> Answer:
        time.sleep(0.25)
        return Answer("a", content_length=10**6)

    with serving(slow) as server:
        began = time.monotonic()
        with pytest.raises(RequestFailedError):
            asks(server, lambda a: a.text(request()), timeout_s=0.2, retries=0)
    assert time.monotonic() - began < 3


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


def test_the_server_is_left_alone_as_long_as_it_asks():
    clock, busy = Waits(), Answer(status=503, error="busy", headers={"Retry-After": "7"})
    with serving(Faulty(busy, times=2)) as server:
        assert asks(server, lambda a: a.text(request("x")), clock=clock) == "to x"
    assert clock.slept == [7, 7]


def test_requests_per_minute():
    async def work(asker: Asker) -> None:
        for i in range(4):
            await asker.text(request(str(i)))
            await asker.text(request(str(i)))  # from the cache: no request

    clock = Waits()
    with serving(lambda body: Answer("a")) as server:
        asks(server, work, clock=clock, requests_per_minute=30)
    assert clock.slept == [2, 2, 2]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(None, fields={"refusal": "I cannot help with that."}), "refused"),
        (Answer("", finish="content_filter"), "refused"),
        (Answer("It is", finish="length"), "truncated"),
        (Answer("  "), "invalid"),
        (Answer(status=400, error="no such picture"), "rejected_request"),
        (Answer(status=400, error="maximum context length is 10 tokens"), "too_long"),
    ],
)
def test_a_reply_of_no_use_says_why_and_is_not_paid_for_again(answer: Answer, reason: str):
    cache = MemoryCache()
    with serving(lambda body: answer) as server:
        for _ in range(2):
            with pytest.raises(UnusableReplyError) as caught:
                asks(server, lambda a: a.text(request()), cache=cache)
            assert caught.value.reason == reason
    # What was rejected cost nothing, and may be taken next time.
    assert len(server.requests) == (1 if answer.status == 200 else 2)
    assert total(cache.totals()).requests == (1 if answer.status == 200 else 0)


@pytest.mark.parametrize("status", [401, 404])
def test_a_server_that_refuses_everything_is_not_asked_twice(status: int):
    refusing = serving(lambda body: Answer(status=status, error="no"))
    said = rf"status {status}.* mend the section teacher"
    with refusing as server, pytest.raises(EndpointError, match=said):
        asks(server, lambda a: a.text(request()))
    assert len(server.requests) == 1


def test_a_missing_key_is_said_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    idle = serving(lambda body: Answer("a"))
    with idle as server, pytest.raises(ConfigError, match=r"teacher\.api_key_env"):
        asks(server, lambda a: a.text(request()), api_key_env="MY_KEY")
    assert server.requests == []


def test_a_server_that_takes_no_request_ends_the_run_and_one_that_takes_some_does_not():
    n = REJECTED_AT_FIRST + 4

    async def work(asker: Asker) -> list[str]:
        found = await asyncio.gather(*(asker.text(request(str(i))) for i in range(n)), return_exceptions=True)
        return [type(e).__name__ for e in found]

    rejected = Answer(status=400, error="unknown field: response_format")
    with serving(lambda body: rejected) as server:
        kinds = Counter(asks(server, work, concurrency=4))
    assert kinds == {"UnusableReplyError": n - 1, "EndpointError": 1}
    with serving(lambda body: Answer("a") if words_of(body) == "0" else rejected) as server:
        kinds = Counter(asks(server, work, concurrency=1))
    assert kinds == {"UnusableReplyError": n - 1, "str": 1}


def test_a_structure_is_asked_for_again_with_what_is_wrong():
    def script(body: Body) -> Answer:
        said = [m["content"] for m in body["messages"]]
        if len(said) == 1:
            return Answer('{"m": 1}')
        assert said[1] == '{"m": 1}'
        assert "'n' is required" in said[2]
        return Answer('```json\n{"n": 4}\n```')

    with serving(script) as server:
        assert asks(server, lambda a: a.structured(request(), Wanted)) == Wanted(n=4)
    first, second = server.requests
    assert first["response_format"]["json_schema"]["name"] == "Wanted"
    assert first["seed"] != second["seed"]


@pytest.mark.parametrize(
    "answer", [Answer(None, fields={"refusal": "No."}), Answer('{"n": ', finish="length")]
)
def test_a_refused_or_cut_structure_is_asked_for_again_by_chance(answer: Answer):
    with serving(lambda body: answer if body["temperature"] == 0 else Answer('{"n": 4}')) as server:
        assert asks(server, lambda a: a.structured(request(), Wanted)) == Wanted(n=4)
    first, second = server.requests
    assert first["messages"] == second["messages"]


def test_a_structure_that_never_comes_fails_with_the_last_reason_and_is_not_paid_for_again():
    cache = MemoryCache()
    with serving(lambda body: Answer("no JSON")) as server:
        for _ in range(2):
            with pytest.raises(UnusableReplyError, match="not_json"):
                asks(server, lambda a: a.structured(request(), Wanted, tries=3), cache=cache)
    assert len(server.requests) == 3


def test_a_server_that_says_nothing_of_tokens_is_estimated():
    ledger = Ledger()
    with serving(lambda body: Answer("b" * 40, usage=None)) as server:
        asks(server, lambda a: a.text(request("a" * 384)), ledger=ledger, **PRICES)
    assert ledger.now == {"write": Spending(1, 100, 10, pytest.approx(0.2), estimated=1)}


def many(n: int, prompt: str) -> Callable[[Asker], Awaitable[list[Any]]]:
    """As many requests together, each with 20 tokens for the reply; errors are results."""

    async def work(asker: Asker) -> list[Any]:
        tasks = (asker.text(request(prompt.format(i), max_tokens=20)) for i in range(n))
        return await asyncio.gather(*tasks, return_exceptions=True)

    return work


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_budget_ends_the_run_and_is_not_overrun(tmp_path: Path, concurrency: int):
    work = many(40, "{:04}" + "a" * 380)  # 100 tokens, and 20 for the reply, which takes 10
    with serving(lambda body: Answer("a", delay_s=0.01)) as server, SqliteCache(tmp_path / "c") as cache:
        for budget in (1000, 1300, 1300):
            ledger = Ledger(Budget(tokens=budget), cache.totals())
            found = asks(server, work, cache=cache, ledger=ledger, concurrency=concurrency)
            assert {type(e) for e in found} == {str, OutOfBudgetError}
            assert budget - 120 < total(ledger.spent).tokens <= budget
            assert total(cache.totals()).tokens == total(ledger.spent).tokens == 110 * len(server.requests)


def test_prompts_that_take_more_than_estimated_overrun_a_budget_by_no_more_than_is_under_way():
    ledger = Ledger(Budget(tokens=1000))
    with serving(lambda body: Answer("a", delay_s=0.05)) as server:  # 100 tokens, where 5 are estimated
        asks(server, many(60, "{}"), ledger=ledger, concurrency=4)
    assert 1000 - 120 < total(ledger.spent).tokens <= 1000 + 4 * 110


def test_who_is_cancelled_leaves_nothing_behind_and_the_others_get_their_reply():
    async def work(asker: Asker) -> str:
        first = asyncio.create_task(asker.text(request()))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(asker.text(request()))  # waits for the first
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.wait([first])
        found = await second
        assert asker.n_under_way == 0
        assert asyncio.all_tasks() == {asyncio.current_task()} | {
            t for t in asyncio.all_tasks() if t.get_coro().__qualname__.startswith("asks.")
        }
        return found

    ledger = Ledger()
    with serving(lambda body: Answer("a", delay_s=0.2)) as server:
        assert asks(server, work, ledger=ledger) == "a"
    assert len(server.requests) == 2
    assert ledger.now == {"write": Spending(1, 100, 10)}
    gc.collect()  # a task or connection that is left would warn now


def test_an_interrupt_with_all_places_taken_ends_cleanly():
    async def work(asker: Asker) -> None:
        many = asyncio.gather(*(asker.text(request(str(i))) for i in range(20)))
        await asyncio.sleep(0.1)
        assert asker.n_under_way == 20
        many.cancel()
        await asyncio.wait([many])
        assert asker.n_under_way == 0

    with serving(lambda body: Answer("a", delay_s=0.5)) as server:
        began = time.monotonic()
        asks(server, work, concurrency=8)
        assert time.monotonic() - began < 3
    gc.collect()


def test_a_third_of_all_replies_being_bad_changes_nothing_but_the_number_of_requests():
    rng, lock = random.Random(0), Lock()
    faults = [fault for name, fault in FAULTS.items() if name != "late"]

    def script(body: Body) -> Answer:
        with lock:
            draw, fault = rng.random(), rng.choice(faults)
        return fault if draw < 0.3 else Answer(json.dumps({"n": int(words_of(body))}))

    async def work(asker: Asker) -> list[Wanted]:
        return await asyncio.gather(*(asker.structured(request(str(i)), Wanted) for i in range(60)))

    ledger = Ledger()
    with serving(script) as server:
        found = asks(server, work, ledger=ledger, retries=30)
    assert [w.n for w in found] == list(range(60))
    spent = ledger.now["write"]
    assert (spent.requests, spent.failed_tries) == (60, len(server.requests) - 60)
    assert spent.failed_tries > 0
