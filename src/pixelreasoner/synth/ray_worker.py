"""A worker of a Ray cluster: it makes slots as any other run does, and sends them with their pictures."""

from __future__ import annotations

import asyncio
import os
import pickle
import platform
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import Any

from pixelreasoner import __version__
from pixelreasoner.core.errors import ConfigError, PixelReasonerError
from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.failures import RequestFailedError
from pixelreasoner.synth.config import SynthConfig, build_seeds
from pixelreasoner.synth.journal import Finished, finished
from pixelreasoner.synth.made import Made
from pixelreasoner.synth.pipeline import Pipeline
from pixelreasoner.synth.ray_books import RemoteCache, RemoteLedger, errors_of_books, ray_package
from pixelreasoner.synth.rejection import Stage
from pixelreasoner.synth.served import served_pipeline
from pixelreasoner.synth.servers import server_sections
from pixelreasoner.synth.slots import Slots
from pixelreasoner.synth.stage_counts import StageCounts

NUMBER, SENT = "item", "sent"
"""The columns: of the numbers of slots, and of what came of them."""
TELL_S = 1.0
"""Seconds between two reports of what happens at the stages."""


@dataclass(frozen=True)
class Job:
    """What every worker of a run has to know."""

    recipe: str
    """As JSON; of what the servers may be asked, the share of one worker."""
    planned: Slots
    folder: Path
    """Where the command was given: relative paths of the recipe begin there."""
    ahead: int
    """Slots under way together in one worker."""
    version: str = __version__


@dataclass(frozen=True)
class Sent:
    """What came of a slot; where there is no `finished`, it stays undone."""

    number: int
    finished: Finished | None = None
    pictures: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Files, by their paths in the folder of the run."""
    failed: str = ""
    """Why a server gave no reply."""
    error: tuple[str, str, str] | None = None
    """What ends the run: the class of an error, its text, and the name of the machine."""


def shared_out(config: SynthConfig, workers: int) -> SynthConfig:
    """The recipe of one of so many workers: each has its share of what the servers may be asked."""

    def share(server: PaidServerConfig) -> PaidServerConfig:
        names = ("concurrency", "requests_per_minute", "tokens_per_minute")
        limits = {name: getattr(server, name) for name in names}
        return server.model_copy(
            update={name: max(1, limit // workers) for name, limit in limits.items() if limit is not None}
        )

    parts = {name.removesuffix(".server"): share(server) for name, server in server_sections(config).items()}
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update={"server": s}) for name, s in parts.items()}
    )


def packed(made: Made) -> Sent:
    """A slot as it is sent: its lines, and its pictures as the files that they become.

    Raises:
        MediaError: a picture cannot be read or written.
    """
    with TemporaryDirectory(prefix="pixelreasoner-") as name:
        folder = Path(name)
        slot = finished(made, folder)
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return Sent(
            made.number, slot, {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        )


class SlotWorker:
    """Takes batches of numbers of slots, several at a time, and gives what comes of each, in order.

    All slots that are under way share one event loop. In order, because Ray runs a batch again whose worker
    has died, and passes over as many results as have come already.
    """

    def __init__(self, job: Job, books: Any) -> None:
        """Nothing is read yet.

        Args:
            job: of the run.
            books: the handle of `Books`; None where no server is asked.
        """
        self._job, self._books = job, books
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def __call__(self, batch: Mapping[str, Any]) -> Iterator[dict[str, list[Any]]]:
        """What comes of the slots of a batch: a pickled `Sent` for each."""
        with self._lock:
            loop = self._loop = self._loop or self._started()
        numbers = [int(number) for number in batch[NUMBER]]
        slots = [asyncio.run_coroutine_threadsafe(self._sent(number), loop) for number in numbers]
        for number, slot in zip(numbers, slots, strict=True):
            yield {NUMBER: [number], SENT: [pickle.dumps(slot.result())]}

    def _started(self) -> asyncio.AbstractEventLoop:
        with suppress(OSError):  # only relative paths need it, and whoever opens one names it
            os.chdir(self._job.folder)
        loop = asyncio.new_event_loop()
        Thread(target=loop.run_forever, name="slots", daemon=True).start()
        self._places = asyncio.Semaphore(self._job.ahead)
        # Never left: the worker ends with its process.
        self._stack = AsyncExitStack()
        self._opening = asyncio.run_coroutine_threadsafe(self._stack.enter_async_context(self._maker()), loop)
        return loop

    async def _sent(self, number: int) -> Sent:
        """What comes of a slot; errors that are the user's are sent too."""
        async with self._places:
            try:
                if await self._is_over():
                    return Sent(number)
                make = await asyncio.shield(asyncio.wrap_future(self._opening))
                return await make(number)
            except RequestFailedError as e:
                return Sent(number, failed=str(e))
            except PixelReasonerError as e:
                self._stopped = True
                return Sent(number, error=(type(e).__name__, str(e), platform.node()))

    async def _is_over(self) -> bool:
        """Whether no other slot is to be begun."""
        if not self._stopped and self._books is not None:
            with errors_of_books():
                self._stopped = await self._books.stopped.remote()
        return self._stopped

    @asynccontextmanager
    async def _maker(self) -> AsyncGenerator[Callable[[int], Coroutine[Any, Any, Sent]]]:
        """What makes a slot.

        Raises:
            ConfigError: this machine has another version of the package.
            PixelReasonerError: the sources or the checkpoint cannot be read here.
        """
        if self._job.version != __version__:
            raise ConfigError(
                f"pixelreasoner {__version__} is installed, and the run is of {self._job.version}; "
                f"install the same one everywhere"
            )
        config, planned = SynthConfig.model_validate_json(self._job.recipe), self._job.planned
        seeds = build_seeds(config)
        if self._books is None:
            pipeline = Pipeline(config, seeds=seeds)

            async def make(number: int) -> Sent:
                return packed(await pipeline.make(number, planned[number]))

            yield make
            return
        worker = ray_package().get_runtime_context().get_actor_id()
        with errors_of_books():
            await self._books.join.remote(worker)
        cache, ledger = RemoteCache(self._books), RemoteLedger(self._books, worker)
        counts = ToldCounts(self._books, worker)
        async with served_pipeline(config, seeds, cache, ledger, counts) as (pipeline, place):

            async def make_served(number: int) -> Sent:
                try:
                    made = await pipeline.make(number, planned[number])
                    return await place.compute(lambda: packed(made))
                finally:
                    counts.leave(number, made=True)

            yield make_served


class ToldCounts(StageCounts):
    """Counts of a worker, of which the actor `Books` is told."""

    def __init__(self, books: Any, worker: str) -> None:
        """Counts.

        Args:
            books: the handle of the actor.
            worker: the name of the worker.
        """
        super().__init__(0)
        self._books, self._worker, self._told = books, worker, 0.0

    def enter(self, number: int, stage: Stage) -> None:
        super().enter(number, stage)
        self._tell()

    def leave(self, number: int, *, made: bool) -> None:
        super().leave(number, made=made)
        self._tell()

    def _tell(self) -> None:
        if (now := time.monotonic()) - self._told >= TELL_S:
            self._told = now
            self._books.tell.remote(self._worker, self.facts())
