"""A task source of your own. A recipe names it: `tasks = { source = "examples.task_source:discs" }`."""

from functools import partial

import numpy as np

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.tasks.source import IndexedTasks, TaskLabel

PLACES = {"above": (0, -1), "below": (0, 1), "left": (-1, 0), "right": (1, 0)}
BLUE, RED, WHITE = (40, 90, 215), (214, 40, 40), (240, 240, 240)
SIDE, RADIUS, DISTANCE = 128, 8, 36


def discs(*, split: str, n: int = 100, seed: int = 0) -> IndexedTasks:
    """`n` pictures of two discs. `options = { n = 500 }` in the recipe gives the arguments."""
    return IndexedTasks([TaskLabel("place", False)] * n, partial(map, partial(two_discs, split, seed)))


def two_discs(split: str, seed: int, index: int) -> Task:
    """Task number `index`: always the same for the same arguments."""
    rng = np.random.default_rng([seed, index, *split.encode()])
    x, y = rng.integers(SIDE // 2 - 16, SIDE // 2 + 16, 2).tolist()
    place, (dx, dy) = list(PLACES.items())[rng.integers(4)]
    blue = x + DISTANCE * dx, y + DISTANCE * dy
    pixels = np.full((SIDE, SIDE, 3), WHITE, np.uint8)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    for (at_x, at_y), colour in (((x, y), RED), (blue, BLUE)):
        pixels[(columns - at_x) ** 2 + (rows - at_y) ** 2 < RADIUS**2] = colour
    return Task(
        id=f"discs-{split}-{seed}-{index}",
        question="Where is the blue dot relative to the red dot on the white board?",
        media=(Picture(pixels),),
        answers=(place,),
        kind="place",
        cue=Cue(Box(blue[0] - RADIUS, blue[1] - RADIUS, blue[0] + RADIUS, blue[1] + RADIUS)),
        needs_operation=False,
    )
