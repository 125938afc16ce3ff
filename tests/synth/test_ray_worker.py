"""What a worker makes and what the actor of a cluster keeps; without Ray, which only carries both about."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pixelreasoner.core.errors import MissingExtraError
from pixelreasoner.endpoint.cache import CachedReply
from pixelreasoner.endpoint.ledger import Budget, OutOfBudgetError, Spending
from pixelreasoner.synth.config import SynthConfig, build_seeds
from pixelreasoner.synth.planned import slots_of
from pixelreasoner.synth.ray_books import Books, ray_package
from pixelreasoner.synth.ray_worker import NUMBER, SENT, Job, Sent, SlotWorker, shared_out
from pixelreasoner.synth.stage_counts import StageFacts
from pixelreasoner.synth.taught import Taught
from pixelreasoner.synth.workers import in_processes

GIVEN = {"out": "out", "n": 6, "tasks": {"source": "pixelworld", "split": "train"}}
SERVER = {"url": "http://localhost:1/v1", "model": "m", "concurrency": 50, "requests_per_minute": 3}


def sent_by_a_worker(**changes: Any) -> list[Sent]:
    config = SynthConfig.model_validate(GIVEN)
    planned = slots_of(config, build_seeds(config), Taught.load(config))
    job = Job(config.model_dump_json(), planned, Path.cwd(), ahead=4, **changes)
    return [pickle.loads(row[SENT][0]) for row in SlotWorker(job, None)({NUMBER: [4, 1]})]


def test_a_worker_sends_the_lines_and_pictures_of_a_run_on_this_machine(tmp_path: Path):
    config = SynthConfig.model_validate(GIVEN)
    seeds = build_seeds(config)
    planned = slots_of(config, seeds, Taught.load(config))
    here = list(in_processes(config, seeds, ((at, planned[at]) for at in (4, 1)), tmp_path))
    sent = sent_by_a_worker()
    assert [one.finished for one in sent] == here
    files = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert {name: content for one in sent for name, content in one.pictures.items()} == files
    assert len(files) > 0


def test_a_worker_of_another_version_says_so():
    (first, second) = sent_by_a_worker(version="0.0.1")
    assert first.finished is None
    assert first.error is not None
    assert first.error[0] == "ConfigError"
    assert "the run is of 0.0.1; install the same one everywhere" in first.error[1]
    assert second.finished is None


def test_what_a_server_may_be_asked_is_shared_out():
    given = SynthConfig.model_validate(
        GIVEN | {"chat_teacher": {"server": SERVER}, "judge": {"server": SERVER}}
    )
    share = shared_out(given, 4)
    for part in (share.chat_teacher, share.judge):
        assert part is not None
        # 50 // 4; three requests a minute are less than one for each, and nobody can be asked less.
        assert (part.server.concurrency, part.server.requests_per_minute) == (12, 1)
        assert part.server.tokens_per_minute is None
    assert share.student is None
    assert given.chat_teacher is not None
    assert given.chat_teacher.server.concurrency == 50


def test_a_worker_that_begins_again_gives_back_what_it_had_set_aside(tmp_path: Path):
    async def asked() -> None:
        books = Books(tmp_path / "replies.sqlite", Budget(tokens=100))
        await books.join("a")
        await books.reserve("a", 80, 0.0)
        waits = asyncio.create_task(books.reserve("b", 60, 0.0))
        await asyncio.sleep(0)
        assert not waits.done(), "80 of 100 tokens may still be spent"
        await books.join("a")
        number = await asyncio.wait_for(waits, 1)
        reply = CachedReply("words", "stop", 40, 10, 0.0, "m")
        await books.put("key", reply, "write")
        await books.add("write", Spending(1, 40, 10))
        await books.settle("b", number)
        await books.settle("b", number)
        assert await books.get("key") == reply
        with pytest.raises(OutOfBudgetError, match="50 of 100 tokens are spent"):
            await books.reserve("a", 51, 0.0)
        await books.close()

    asyncio.run(asked())


def test_the_stages_of_all_workers_are_added_up(tmp_path: Path):
    async def told() -> None:
        books = Books(tmp_path / "replies.sqlite", Budget())
        await books.tell("a", StageFacts(Counter(write=2), Counter(judge=1), frozenset({"write", "judge"})))
        await books.tell("a", StageFacts(Counter(write=1), Counter(judge=2), frozenset({"write", "judge"})))
        await books.tell("b", StageFacts(Counter(write=4), Counter(), frozenset({"propose", "write"})))
        stages = (await books.state()).stages
        assert (stages.here, stages.rejected) == (Counter(write=5), Counter(judge=2))
        assert stages.entered == {"propose", "write", "judge"}
        assert not await books.stopped()
        await books.stop()
        assert await books.stopped()
        await books.close()

    asyncio.run(told())


def test_without_ray_the_extra_is_named():
    with pytest.raises(MissingExtraError, match=r"pip install 'pixelreasoner\[ray\]'"):
        ray_package("ray_that_is_not_installed")
