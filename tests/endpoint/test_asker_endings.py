"""How a run of requests ends: out of budget, cancelled, or killed."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chat_server import Answer, serving
from endpoint_helpers import asks, request, words_of
from pixelreasoner.endpoint.asker import Asker
from pixelreasoner.endpoint.cache import SqliteCache
from pixelreasoner.endpoint.ledger import Budget, Ledger, OutOfBudgetError, Spending, total

pytest.importorskip("openai")


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
        before = asyncio.all_tasks()
        first = asyncio.create_task(asker.text(request()))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(asker.text(request()))  # waits for the first
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.wait([first])
        found = await second
        assert asker.n_under_way == 0
        assert asyncio.all_tasks() == before
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


CHILD = """
import asyncio, sys
from pathlib import Path
from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.asker import Asker
from pixelreasoner.endpoint.cache import SqliteCache
from pixelreasoner.endpoint.ledger import Ledger
from pixelreasoner.endpoint.requests import ChatRequest

async def run():
    with SqliteCache(Path(sys.argv[2])) as cache:
        asker = Asker(PaidServerConfig(url=sys.argv[1], model="m", concurrency=4), cache, Ledger())

        async def ask(i):
            reply = await asker.text(ChatRequest("write", ({"role": "user", "content": str(i)},)))
            sys.stdout.write(f"{i} {reply}\\n")
            sys.stdout.flush()

        await asyncio.gather(*map(ask, range(60)))
        await asker.close()

asyncio.run(run())
"""


@pytest.mark.slow
def test_a_killed_run_that_is_made_again_pays_again_only_for_what_was_under_way(tmp_path: Path):
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    with serving(lambda body: Answer(f"to {words_of(body)}", delay_s=0.05)) as server:
        command = [sys.executable, "-c", CHILD, server.url, str(tmp_path / "c")]
        for n_read in (1, 15, 30):
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
            assert child.stdout is not None
            for _ in range(n_read):
                child.stdout.readline()
            child.send_signal(signal.SIGKILL)
            child.stdout.read()
            child.wait()
            child.stdout.close()
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    assert sorted(done.stdout.split("\n")) == sorted(["", *(f"{i} to {i}" for i in range(60))])
    asked = Counter(words_of(body) for body in server.requests)
    assert set(asked) == {str(i) for i in range(60)}
    assert asked.total() - 60 <= 3 * 4
