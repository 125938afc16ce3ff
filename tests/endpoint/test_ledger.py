"""The budget: nothing over it, and all of it."""

from __future__ import annotations

import asyncio

import pytest

from pixelreasoner.endpoint.ledger import Budget, Ledger, OutOfBudgetError, Spending, total


def test_spending_adds_up_by_purpose_and_with_earlier_processes():
    ledger = Ledger(before={"write": Spending(2, 20, 2, 0.5)})
    ledger.add("write", Spending(1, 10, 1, 0.25))
    ledger.add("judge", Spending(from_cache=1))
    assert ledger.spent == {"write": Spending(3, 30, 3, 0.75), "judge": Spending(from_cache=1)}
    assert ledger.now["write"] == Spending(1, 10, 1, 0.25)
    assert total(ledger.spent) == Spending(3, 30, 3, 0.75, from_cache=1)
    assert total(ledger.spent).tokens == 33


def test_what_earlier_processes_spent_counts():
    ledger = Ledger(Budget(tokens=100), {"write": Spending(1, 80, 5)})
    assert asyncio.run(ledger.reserve(15, 0.0)).tokens == 15
    with pytest.raises(OutOfBudgetError, match=r"85 of 100 tokens .* 16; raise budget.tokens .*--resume"):
        asyncio.run(Ledger(Budget(tokens=100), {"write": Spending(1, 80, 5)}).reserve(16, 0.0))


def test_what_is_under_way_counts_and_is_waited_for():
    async def asks() -> None:
        ledger = Ledger(Budget(usd=1.0))
        first = await ledger.reserve(10, 0.6)
        second = asyncio.create_task(ledger.reserve(10, 0.6))
        await asyncio.sleep(0)
        assert not second.done()  # 1.20 could be over; the first may cost less
        ledger.add("write", Spending(1, 5, 5, 0.3))
        ledger.settle(first)
        reserve = await asyncio.wait_for(second, 5)
        ledger.add("write", Spending(1, 5, 5, 0.6))
        ledger.settle(reserve)
        with pytest.raises(OutOfBudgetError, match=r"0\.9000 of 1 US dollars .*0\.2000; raise budget.usd"):
            await ledger.reserve(10, 0.2)

    asyncio.run(asks())


@pytest.mark.parametrize("concurrency", [1, 7, 50])
def test_no_budget_is_overrun_and_little_is_left(concurrency: int):
    cost, most, budget = 7, 20, 1000

    async def asks() -> int:
        ledger = Ledger(Budget(tokens=budget))

        async def worker() -> None:
            while True:
                reserve = await ledger.reserve(most, 0.0)
                await asyncio.sleep(0)
                ledger.add("write", Spending(1, cost))
                ledger.settle(reserve)

        results = await asyncio.gather(*(worker() for _ in range(concurrency)), return_exceptions=True)
        assert all(isinstance(r, OutOfBudgetError) for r in results)
        return total(ledger.spent).tokens

    assert budget - most < asyncio.run(asyncio.wait_for(asks(), 10)) <= budget


def test_who_is_cancelled_while_waiting_holds_nothing():
    async def asks() -> None:
        ledger = Ledger(Budget(tokens=10))
        first = await ledger.reserve(10, 0.0)
        waiting = asyncio.create_task(ledger.reserve(10, 0.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        ledger.settle(first)
        await asyncio.wait_for(ledger.reserve(10, 0.0), 5)

    asyncio.run(asks())
