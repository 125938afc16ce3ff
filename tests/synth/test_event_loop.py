"""Slots in an event loop: bounded, in any order, and one that fails holds no other back."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from pixelreasoner.core.errors import Terminated
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.endpoint.failures import EndpointError, RequestFailedError
from pixelreasoner.endpoint.ledger import OutOfBudgetError
from pixelreasoner.synth.event_loop import EventLoopWorkplace, MakeSlot, in_event_loop, task_bytes
from pixelreasoner.synth.journal import Finished
from pixelreasoner.synth.mix import Template
from pixelreasoner.synth.slots import Slot
from pixelreasoner.synth.stage_counts import StageCounts

SLOT = Slot(Template.TEXT_ONLY, 0, "sign", None)
Make = Callable[[int], Coroutine[Any, Any, None]]


def made(
    make: Make, n: int, ahead: int = 4, max_failures: int = 20
) -> tuple[list[int], Exception | None, list[str]]:
    """The numbers that came out, the error at the end, and what was said."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[MakeSlot]:
        async def one(number: int, slot: Slot) -> Finished:
            await make(number)
            return Finished(number, "", ())

        yield one

    out: list[int] = []
    said: list[str] = []
    numbered = ((number, SLOT) for number in range(n))
    try:
        for slot in in_event_loop(
            opened, numbered, StageCounts(0), ahead=ahead, max_failures=max_failures, say=said.append
        ):
            out.append(slot.number)
    except (EndpointError, OutOfBudgetError) as e:
        return out, e, said
    return out, None, said


def test_so_many_are_under_way_and_no_more():
    now: set[int] = set()
    most = 0

    async def make(number: int) -> None:
        nonlocal most
        now.add(number)
        most = max(most, len(now))
        await asyncio.sleep(0.002 * (number % 3))
        now.remove(number)

    out, error, _ = made(make, 40, ahead=5)
    assert sorted(out) == list(range(40))
    assert out != sorted(out), "one that is done does not wait for an earlier one"
    assert (most, error) == (5, None)


def test_one_that_fails_is_named_and_the_others_go_on():
    async def make(number: int) -> None:
        if number in (1, 7):
            raise RequestFailedError(f"status 503: busy {number}")

    out, error, said = made(make, 10)
    assert sorted(out) == [0, 2, 3, 4, 5, 6, 8, 9]
    assert str(error).startswith(
        "2 trajectories got no reply and are undone; trajectory 2: status 503: busy 1."
    )
    assert said == [
        "trajectory 2: status 503: busy 1; it stays undone",
        "trajectory 8: status 503: busy 7; it stays undone",
    ]


def test_after_so_many_failures_no_other_one_is_begun():
    begun: list[int] = []

    async def make(number: int) -> None:
        begun.append(number)
        raise RequestFailedError("no connection")

    out, error, _ = made(make, 100, ahead=2, max_failures=3)
    assert (out, len(begun)) == ([], 4), "three, and the one that was under way"
    assert "max_failures = 3: no other was begun" in str(error)


def test_at_the_end_of_the_budget_what_is_under_way_is_finished():
    async def make(number: int) -> None:
        if number == 1:
            raise OutOfBudgetError("4 of 4 US dollars are spent")
        await asyncio.sleep(0.01)

    out, error, _ = made(make, 50, ahead=3)
    assert (sorted(out), str(error)) == ([0, 2], "4 of 4 US dollars are spent")


def test_a_bug_stops_everything_and_is_shown():
    async def make(number: int) -> None:
        if number == 2:
            raise KeyError("a bug")
        await asyncio.sleep(5)

    with pytest.raises(KeyError, match="a bug"):
        made(make, 10)


def test_pictures_have_a_limit_in_common_and_a_large_one_goes_alone():
    def task(side: int) -> Task:
        return Task("t", "Q?", (Picture(np.zeros((side, side, 3), np.uint8)),), ())

    small, large = task(10), task(100)
    assert task_bytes(small) >= 10 * 10 * 3
    most = 2 * task_bytes(small)
    peak = now = 0

    async def use(place: EventLoopWorkplace, one: Task) -> None:
        nonlocal now, peak
        async with place.room(one):
            now += task_bytes(one)
            peak = max(peak, now)
            assert now <= most or now == task_bytes(large)
            await asyncio.sleep(0.001)
            now -= task_bytes(one)

    async def all_of_them() -> None:
        place = EventLoopWorkplace(StageCounts(0), most_bytes=most)
        await asyncio.gather(*(use(place, one) for one in [small] * 9 + [large] + [small] * 3))
        place.close()

    asyncio.run(all_of_them())
    assert peak == task_bytes(large)


def test_stages_count_slots_that_are_past_them():
    counts = StageCounts(done=10)
    for number in range(4):
        counts.enter(number, "propose")
    counts.enter(1, "write")
    counts.enter(2, "judge")
    counts.reject(2, "judge")
    counts.leave(3, made=True)
    rows = {row.label: (row.done, row.text) for row in counts.rows()}
    # 11 are made; slot 1 is being written, slot 0 is proposed, slot 2 is between two tasks.
    assert rows == {"propose": (12, "1 now"), "write": (11, "1 now"), "judge": (11, "1 rejected")}


def test_stages_remember_what_they_turned_down_before_the_run_was_interrupted():
    counts = StageCounts(10, {"ocr": 3, "judge": 1})
    counts.enter(10, "judge")
    counts.reject(10, "judge")
    rows = {row.label: (row.done, row.text) for row in counts.rows()}
    assert rows == {"ocr": (10, "3 rejected"), "judge": (10, "2 rejected")}


@pytest.mark.parametrize("interrupt", [Terminated, KeyboardInterrupt])
def test_a_signal_within_a_slot_ends_all_of_them_without_a_word(
    caplog: pytest.LogCaptureFixture, interrupt: type[KeyboardInterrupt]
):
    """The handler of a signal raises in whatever runs: here in a slot, while two others wait."""
    ended: list[int] = []

    @asynccontextmanager
    async def opened() -> AsyncGenerator[MakeSlot]:
        async def make(number: int, slot: Slot) -> Finished:
            try:
                await asyncio.sleep(0.01 if number == 1 else 60)
            finally:
                ended.append(number)
            raise interrupt

        yield make

    numbered = ((number, SLOT) for number in range(3))
    slots = in_event_loop(opened, numbered, StageCounts(0), ahead=3, max_failures=1, say=str)
    with pytest.raises(interrupt):
        next(slots)
    del slots
    gc.collect()
    assert sorted(ended) == [0, 1, 2]
    assert not caplog.records, caplog.text
