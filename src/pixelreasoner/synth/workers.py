"""Slots made by this process or by several: without a server there is nothing to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path

from pixelreasoner.core.prefetch import prefetch
from pixelreasoner.core.processes import worker_processes
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.journal import Finished, finished
from pixelreasoner.synth.pipeline import Pipeline
from pixelreasoner.synth.slots import Seeds, Slot

AHEAD_PER_WORKER = 8
"""Slots made ahead of the writer."""


def in_processes(
    config: SynthConfig, seeds: Sequence[Seeds], numbered: Iterable[tuple[int, Slot]], folder: Path
) -> Generator[Finished]:
    """The slots of a recipe, in order, by as many processes as it says; their pictures are in `folder`.

    Args:
        config: the recipe.
        seeds: its sets of tasks, for this process; others open them for themselves.
        numbered: the slots to make.
        folder: of the run.

    Raises:
        PixelReasonerError: something is wrong with the recipe, or a place cannot be written to.
    """
    if config.workers == 1:
        pipeline = Pipeline(config, seeds=seeds)
        yield from (_finished(pipeline, folder, *item) for item in numbered)
        return
    recipe = config.model_dump_json()
    with worker_processes(config.workers) as pool:
        ahead = config.workers * AHEAD_PER_WORKER
        with closing(prefetch(pool, partial(_in_worker, recipe, folder), numbered, ahead=ahead)) as made:
            yield from made


def _in_worker(recipe: str, folder: Path, numbered: tuple[int, Slot]) -> Finished:
    return _finished(_pipeline(recipe), folder, *numbered)


@lru_cache(maxsize=1)
def _pipeline(recipe: str) -> Pipeline:
    """The pipeline of this process, which keeps its tasks and tools from slot to slot."""
    return Pipeline(SynthConfig.model_validate_json(recipe))


def _finished(pipeline: Pipeline, folder: Path, number: int, slot: Slot) -> Finished:
    return finished(asyncio.run(pipeline.make(number, slot)), folder)
