"""Requests together: results in order, and none that outlives the others' failure."""

from __future__ import annotations

import asyncio

import pytest

from pixelreasoner.synth.concurrently import concurrently


def test_results_come_in_order():
    async def after(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return turns

    async def run() -> list[int]:
        return await concurrently(after(3), after(1), after(2))

    assert asyncio.run(run()) == [3, 1, 2]


def test_a_failure_ends_the_others():
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("waits")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("no")

    async def run() -> None:
        with pytest.raises(KeyError):
            await concurrently(waits(), fails())
        assert ended == ["waits"]

    asyncio.run(run())
