"""Asking a real server on this machine, which fails in all manners."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Lock, Thread

import numpy as np
import pytest

from benchmarks.chat_server import Answer, Body, pictures_in, serving
from endpoint_helpers import FAULTS, PRICES, Faulty, Waits, Wanted, asks, request, words_of
from pixelreasoner.core.errors import ConfigError, MissingExtraError
from pixelreasoner.core.media import Picture
from pixelreasoner.endpoint.asker import PATIENCE, Asker
from pixelreasoner.endpoint.cache import MemoryCache, SqliteCache
from pixelreasoner.endpoint.failures import EndpointError, RequestFailedError, UnusableReplyError
from pixelreasoner.endpoint.ledger import Ledger, Spending, total
from pixelreasoner.endpoint.requests import ChatRequest, picture_part, text_part

pytest.importorskip("openai")


def test_a_reply_is_asked_for_once_and_is_on_disk_for_the_next_process(tmp_path: Path):
    with serving(lambda body: Answer("It is K.")) as server:
        for _ in range(2):
            with SqliteCache(tmp_path / "c") as cache:
                ledger = Ledger(before=cache.totals())
                found = asks(server, lambda a: a.text(request()), cache=cache, ledger=ledger, **PRICES)
                assert found == "It is K."
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


class Trickle(BaseHTTPRequestHandler):
    """Sends a byte of the reply every 50 ms, for 10 s."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "200")
        self.end_headers()
        with suppress(ConnectionError):
            for _ in range(200):
                self.wfile.write(b" ")
                time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_that_sends_bit_by_bit_does_not_get_round_the_time_out():
    server = HTTPServer(("127.0.0.1", 0), Trickle)
    thread = Thread(target=server.handle_request)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    began = time.monotonic()
    with pytest.raises(RequestFailedError, match=r"no reply in 0\.3 s"):
        asks(url, lambda a: a.text(request()), timeout_s=0.3, retries=0)
    assert time.monotonic() - began < 5
    thread.join()
    server.server_close()


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


@pytest.mark.parametrize("usage", [(100, 10), None])
def test_tokens_per_minute(usage: tuple[int, int] | None):
    async def work(asker: Asker) -> None:
        for i in range(4):
            await asker.text(request(f"{i:04}" + "a" * 380, max_tokens=20))  # 100 tokens, and 10 of 20

    clock = Waits()
    with serving(lambda body: Answer("b" * 40, usage=usage)) as server:
        asks(server, work, clock=clock, tokens_per_minute=600)
    # 10 a second, of which 10 are there at first; 10 of each request come back.
    assert clock.slept == pytest.approx([11, 11, 11, 11])


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


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"pixelreasoner\[endpoint\]"):
        asks("http://localhost:1/v1", lambda a: a.text(request()))


def kinds_of(found: list[str | BaseException]) -> dict[str, int]:
    return Counter(type(e).__name__ for e in found)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Answer(status=400, error="unknown field: response_format"), "UnusableReplyError"),
        (Answer(status=500, error="broken"), "RequestFailedError"),
    ],
)
def test_a_server_that_answers_no_request_is_given_up(fault: Answer, kind: str):
    n = PATIENCE + 4

    async def work(asker: Asker) -> list[str | BaseException]:
        return await asyncio.gather(*(asker.text(request(str(i))) for i in range(n)), return_exceptions=True)

    with serving(lambda body: fault) as server:
        found = asks(server, work, concurrency=4, retries=0)
    assert kinds_of(found) == {kind: n - 1, "EndpointError": 1}
    said = next(str(e) for e in found if isinstance(e, EndpointError))
    assert f"has answered none of {n} requests: status {fault.status}: {fault.error}; see" in said
    with serving(lambda body: Answer("a") if words_of(body) == "0" else fault) as server:
        found = asks(server, work, concurrency=1, retries=0)
    # One that has answered may reject as many as it wants, and fail as often as before.
    given_up = {"EndpointError": n - 1 - PATIENCE} if kind == "RequestFailedError" else {}
    assert kinds_of(found) == {"str": 1, kind: n - 1 - sum(given_up.values())} | given_up


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
