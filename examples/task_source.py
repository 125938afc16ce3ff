"""A task source of your own. A recipe names it: `tasks = { source = "examples.task_source:discs" }`."""

from functools import partial

import numpy as np

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.tasks.source import IndexedTasks, TaskLabel

COLOURS = {"red": (214, 40, 40), "green": (40, 160, 70), "blue": (40, 90, 215)}
SIDE, RADIUS = 96, 12


def discs(*, split: str, n: int = 100, seed: int = 0) -> IndexedTasks:
    """`n` pictures of one disc each. `options = { n = 500 }` in the recipe gives the arguments."""
    return IndexedTasks([TaskLabel("colour", False)] * n, partial(map, partial(disc, split, seed)))


def disc(split: str, seed: int, index: int) -> Task:
    """Task number `index`: always the same for the same arguments."""
    rng = np.random.default_rng([seed, index, *split.encode()])
    x, y = rng.integers(RADIUS, SIDE - RADIUS, 2).tolist()
    colour = sorted(COLOURS)[rng.integers(len(COLOURS))]
    pixels = np.full((SIDE, SIDE, 3), 230, np.uint8)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    pixels[(columns - x) ** 2 + (rows - y) ** 2 < RADIUS**2] = COLOURS[colour]
    return Task(
        id=f"disc-{split}-{seed}-{index}",
        question=f"What colour is the disc: {', '.join(sorted(COLOURS))}?",
        media=(Picture(pixels),),
        answers=(colour,),
        kind="colour",
        cue=Cue(Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)),
        needs_operation=False,
        split=split,
    )
