"""The slots of a recipe that names servers: one cache, one budget, one event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pixelreasoner.core.media import DECODED, PICTURE_BYTES
from pixelreasoner.core.progress_line import ProgressLine
from pixelreasoner.endpoint.cache import ResponseCache
from pixelreasoner.endpoint.ledger import Ledger, Spending, total
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.event_loop import EventLoopWorkplace, MakeSlot, in_event_loop
from pixelreasoner.synth.journal import Finished, finished
from pixelreasoner.synth.pipeline import Pipeline
from pixelreasoner.synth.servers import open_servers, server_sections
from pixelreasoner.synth.slots import Seeds, Slot
from pixelreasoner.synth.stage_counts import StageCounts
from pixelreasoner.synth.taught import Taught

SLOTS_PER_REQUEST = 2
"""Slots under way for each request that the servers may have: some are always between two requests."""

DECODED_BYTES = 2**28
"""Of pixels that are kept beyond their use: a task is asked about in one go, and comes once."""


class ServedSlots:
    """Makes the slots of a recipe with its servers, and knows what that costs."""

    def __init__(
        self,
        config: SynthConfig,
        seeds: Sequence[Seeds],
        folder: Path,
        cache: ResponseCache,
        counts: StageCounts,
    ) -> None:
        """Nothing is asked yet.

        Args:
            config: the recipe.
            seeds: its sets of tasks.
            folder: of the run; takes the pictures.
            cache: of replies.
            counts: takes which slot comes to which stage.
        """
        self._config, self._seeds, self._folder, self._cache = config, seeds, folder, cache
        self._counts = counts
        self._ledger = Ledger(config.budget, cache.totals())

    def make(self, numbered: Iterator[tuple[int, Slot]], line: ProgressLine) -> Generator[Finished]:
        """The slots as they are done, in any order.

        Raises:
            EndpointError, OutOfBudgetError, PixelReasonerError: as `event_loop.in_event_loop`.
        """
        return in_event_loop(
            self._opened,
            numbered,
            self._counts,
            ahead=slots_ahead(self._config),
            max_failures=self._config.max_failures,
            say=line.note,
        )

    def cost(self) -> str:
        """What all of the run has cost so far."""
        return cost_text(self._ledger.spent)

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[MakeSlot]:
        opened = served_pipeline(self._config, self._seeds, self._cache, self._ledger, self._counts)
        async with opened as (pipeline, place):

            async def make(number: int, slot: Slot) -> Finished:
                made = await pipeline.make(number, slot)
                return await place.compute(lambda: finished(made, self._folder))

            yield make


@asynccontextmanager
async def served_pipeline(
    config: SynthConfig, seeds: Sequence[Seeds], cache: ResponseCache, ledger: Ledger, counts: StageCounts
) -> AsyncGenerator[tuple[Pipeline, EventLoopWorkplace]]:
    """The pipeline of a recipe with servers, and where it works; within an event loop, for the block.

    Raises:
        MissingExtraError: the package openai is not installed.
        ConfigError: the variable for a key is not set.
        CheckpointError: the checkpoint cannot be read.
    """
    taught, place = Taught.load(config), EventLoopWorkplace(counts)
    DECODED.resize(DECODED_BYTES)
    try:
        async with open_servers(config, taught, cache, ledger) as servers:
            yield Pipeline(config, seeds=seeds, taught=taught, servers=servers, place=place), place
    finally:
        place.close()
        DECODED.resize(PICTURE_BYTES)


def slots_ahead(config: SynthConfig) -> int:
    """Slots under way together, so that the servers have as many requests as they may have."""
    return SLOTS_PER_REQUEST * sum(server.concurrency for server in server_sections(config).values())


def cost_text(spent: Mapping[str, Spending]) -> str:
    """What a run has cost: dollars where the servers have prices, else tokens."""
    cost = total(spent)
    return f"${cost.usd:.2f}" if cost.usd else f"{cost.tokens / 1e6:.2f}M tokens"
