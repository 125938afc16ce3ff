"""PixelWorld: a seeded stream of tasks with exact cues, in five kinds that mirror the paper's benchmarks.

| kind        | mirrors          | the full image suffices when | the operation is needed when        |
|-------------|------------------|------------------------------|-------------------------------------|
| `attribute` | V*               | the card is large            | the sign is a few pixels there      |
| `relation`  | V*               | the board is large           | two dots melt into each other        |
| `count`     | TallyQA-complex  | the board is large           | dots melt into each other            |
| `page`      | InfographicVQA   | the row is set large         | the row is set small                 |
| `clip`      | MVBench          | the card is large            | the card must be seen in its frame   |

A task is a pure function of (seed, split, kind, needs_operation, index); splits draw from disjoint seed
sequences, and handwriting is held out for the test split.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from pixelreasoner.core.config import Config, Seed, Share
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.tasks.pixelworld import paint, questions, scenes
from pixelreasoner.tasks.pixelworld.questions import Question
from pixelreasoner.tasks.pixelworld.things import Scene, Thing

Split = Literal["base", "train", "rl", "test"]
KINDS = ("attribute", "relation", "count", "page", "clip")
COMPOSERS: dict[str, Callable[[scenes.LayoutGenerator], Scene]] = {
    "attribute": scenes.cards,
    "relation": partial(scenes.boards, relational=True),
    "count": partial(scenes.boards, relational=False),
    "page": scenes.page,
    "clip": scenes.clip,
}


class WorldConfig(Config):
    """Which tasks to draw."""

    seed: Seed = 0
    """Of all tasks."""
    kinds: tuple[str, ...] = KINDS
    """Kinds of task, drawn in turn."""
    needs_operation_share: Share = 0.5
    """The share of tasks that the full image alone cannot answer."""
    photos: Path | None = None
    """A folder of the user's own photographs for backgrounds."""


class PixelWorld:
    """An endless, indexable source of tasks.

    Raises:
        ConfigError: an unknown kind.
    """

    def __init__(self, config: WorldConfig | None = None) -> None:
        self.config = config or WorldConfig()
        unknown = sorted(set(self.config.kinds) - set(KINDS))
        if unknown or not self.config.kinds:
            raise ConfigError(f"unknown PixelWorld kinds {unknown}; choose from {', '.join(KINDS)}")

    def rng(self, split: Split, kind: str, index: int, *, tiny: bool) -> np.random.Generator:
        """The generator of one task; the key never collides between splits."""
        key = f"{split}/{kind}/{'needs' if tiny else 'overview'}/{index}"
        return np.random.default_rng([self.config.seed, zlib.crc32(split.encode()), *key.encode()])

    def scene(self, split: Split, kind: str, index: int, *, tiny: bool) -> tuple[Scene, np.random.Generator]:
        """The painted scene of a task, and its generator for the question that follows."""
        rng = self.rng(split, kind, index, tiny=tiny)
        photos = paint.photographs(self.config.photos)
        share = scenes.BASE_DIGIT_SHARE if split == "base" else scenes.DIGIT_SHARE
        generator = scenes.LayoutGenerator(rng, photos, test=split == "test", tiny=tiny, digit_share=share)
        return COMPOSERS[kind](generator), rng

    def task(self, split: Split, kind: str, index: int, *, needs_operation: bool) -> Task:
        """One task, always the same for the same arguments."""
        scene, rng = self.scene(split, kind, index, tiny=needs_operation)
        thing, question = _choose(scene, kind, rng)
        return Task(
            id=f"{kind}-{'zoom' if needs_operation else 'plain'}-{split}-{self.config.seed}-{index}",
            question=question.text,
            media=(scene.media,),
            answers=(question.answer,),
            kind=kind,
            cue=Cue(box=thing.box, frames=thing.frames),
            needs_operation=needs_operation,
            split=split,
            subject=thing.name,
            claim=question.claim,
        )

    def tasks(self, split: Split, n: int, *, start: int = 0) -> Iterator[Task]:
        """`n` tasks: kinds in turn, the share that needs an operation spread evenly within each kind."""
        share = self.config.needs_operation_share
        for i in range(start, start + n):
            kind = self.config.kinds[i % len(self.config.kinds)]
            index = i // len(self.config.kinds)
            # Bresenham's line: exactly floor(n * share) of the first n tasks of a kind need the operation.
            needs = int((index + 1) * share) > int(index * share)
            yield self.task(split, kind, index, needs_operation=needs)


def _choose(scene: Scene, kind: str, rng: np.random.Generator) -> tuple[Thing, Question]:
    """A thing of the scene, and what the kind asks about it."""
    thing = scene.things[int(rng.integers(len(scene.things)))]
    if kind == "relation":
        return thing, questions.relation(thing, swapped=bool(rng.random() < 0.5))
    if kind == "count":
        colours = sorted({d.colour for d in thing.dots})
        return thing, questions.count(thing, colours[int(rng.integers(len(colours)))])
    return thing, questions.read_glyph(thing, rng)
