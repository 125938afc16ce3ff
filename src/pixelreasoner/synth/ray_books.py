"""The replies and the budget of a run on a Ray cluster: one actor has them, and all workers ask it.

It runs on the machine of the run's folder, so that `replies.sqlite` lies there as in any run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from pixelreasoner.core.errors import MissingExtraError, PixelReasonerError
from pixelreasoner.endpoint.cache import CachedReply, SqliteCache
from pixelreasoner.endpoint.ledger import Budget, Ledger, Reserve, Spending
from pixelreasoner.synth.stage_counts import StageFacts


def ray_package(name: str = "ray") -> Any:
    """A package of Ray, which no other part of this project needs.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as e:
        raise MissingExtraError(e.name or name, "ray", "A run on a Ray cluster") from e


@dataclass(frozen=True)
class State:
    """How far the workers are."""

    spent: Mapping[str, Spending]
    """By the whole run, by purpose."""
    stages: StageFacts


class Books:
    """An actor: the cache of replies, the budget, and whether the run goes on."""

    def __init__(self, replies: Path, budget: Budget) -> None:
        """Nothing is opened yet.

        Args:
            replies: the file of replies, on a disk of this machine.
            budget: of the whole run.
        """
        self._replies, self._budget = replies, budget
        self._held: dict[str, dict[int, Reserve]] = defaultdict(dict)
        """What each worker has set aside."""
        self._numbers = count()
        self._stages: dict[str, StageFacts] = {}
        self._stopped = False

    async def join(self, worker: str) -> None:
        """A worker begins, or begins again: what it had set aside when it died is free."""
        for reserve in self._held.pop(worker, {}).values():
            self._ledger.settle(reserve)

    async def get(self, key: str) -> CachedReply | None:
        return self._cache.get(key)

    async def put(self, key: str, reply: CachedReply, purpose: str) -> None:
        self._cache.put(key, reply, purpose)

    async def totals(self) -> dict[str, Spending]:
        return self._cache.totals()

    async def reserve(self, worker: str, tokens: int, usd: float) -> int:
        """Set aside what a request may cost, as `Ledger.reserve`; the number of the reserve."""
        reserve = await self._ledger.reserve(tokens, usd)
        number = next(self._numbers)
        self._held[worker][number] = reserve
        return number

    async def settle(self, worker: str, number: int) -> None:
        if (reserve := self._held[worker].pop(number, None)) is not None:
            self._ledger.settle(reserve)

    async def add(self, purpose: str, spending: Spending) -> None:
        self._ledger.add(purpose, spending)

    async def tell(self, worker: str, stages: StageFacts) -> None:
        """Take what happens at a worker's stages."""
        self._stages[worker] = stages

    async def stop(self) -> None:
        """No other slot is begun."""
        self._stopped = True

    async def stopped(self) -> bool:
        return self._stopped

    async def state(self) -> State:
        return State(self._ledger.spent, sum(self._stages.values(), StageFacts()))

    async def close(self) -> None:
        """Close the file of replies."""
        self._cache.close()

    @cached_property
    def _cache(self) -> SqliteCache:
        return SqliteCache(self._replies)

    @cached_property
    def _ledger(self) -> Ledger:
        return Ledger(self._budget, self._cache.totals())


@contextmanager
def errors_of_books() -> Generator[None]:
    """Around calls of the actor: what it raises for the user is raised as it was there.

    Raises:
        PixelReasonerError: what the actor raised, or the actor is gone.
    """
    errors = ray_package("ray.exceptions")
    try:
        yield
    except errors.RayTaskError as e:
        if isinstance(e.cause, PixelReasonerError):
            raise e.cause from None
        raise
    except errors.RayActorError as e:
        raise PixelReasonerError(
            "the actor that keeps the replies of the run is gone; go on with --resume"
        ) from e


class RemoteCache:
    """The replies that the actor keeps: a `ResponseCache` of a worker."""

    def __init__(self, books: Any) -> None:
        """A cache.

        Args:
            books: the handle of the actor.
        """
        self._books, self._get = books, ray_package().get

    def get(self, key: str) -> CachedReply | None:
        with errors_of_books():
            return self._get(self._books.get.remote(key))

    def put(self, key: str, reply: CachedReply, purpose: str) -> None:
        with errors_of_books():
            self._get(self._books.put.remote(key, reply, purpose))

    def totals(self) -> dict[str, Spending]:
        with errors_of_books():
            return self._get(self._books.totals.remote())


class RemoteLedger(Ledger):
    """The budget that the actor keeps, as a worker sees it; `now` is what the worker has spent itself."""

    def __init__(self, books: Any, worker: str) -> None:
        """A ledger.

        Args:
            books: the handle of the actor.
            worker: the name of the worker; the same when it begins again.
        """
        super().__init__()
        self._books, self._worker = books, worker
        self._reserved: dict[int, int] = {}

    async def reserve(self, tokens: int, usd: float) -> Reserve:
        reserve = Reserve(tokens, usd)
        with errors_of_books():
            self._reserved[id(reserve)] = await self._books.reserve.remote(self._worker, tokens, usd)
        return reserve

    def settle(self, reserve: Reserve) -> None:
        self._books.settle.remote(self._worker, self._reserved.pop(id(reserve)))

    def add(self, purpose: str, spending: Spending) -> None:
        super().add(purpose, spending)
        self._books.add.remote(purpose, spending)
