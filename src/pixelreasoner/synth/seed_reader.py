"""The tasks of a recipe's sets, read by several threads: each has sources of its own.

A source may keep a file open, or remember what it read last; nothing says that two threads may use it. Opened
anew it gives the same tasks at the same positions, so it does not matter which thread reads.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import islice

from pixelreasoner.core.errors import MediaError, RecordError
from pixelreasoner.core.task import Task
from pixelreasoner.synth.config import SynthConfig, build_seeds
from pixelreasoner.synth.readable import damaged_tasks
from pixelreasoner.synth.slots import Seeds, Slot
from pixelreasoner.tasks.source import TaskSource


class SeedReader:
    """Reads the tasks of slots; may be used by many threads."""

    def __init__(self, config: SynthConfig, seeds: Sequence[Seeds] | None = None) -> None:
        """A reader.

        Args:
            config: the recipe.
            seeds: its sets, for the first thread that reads; None opens them for it as for the others.
        """
        self._config, self._given, self._lock = config, seeds, threading.Lock()
        self._of_thread = threading.local()

    def task(self, slot: Slot, index: int) -> Task | None:
        """The task of a slot's set, kind and need at a position; None beyond their end.

        Raises:
            RejectedError: it is damaged.
            PixelReasonerError: the sets cannot be opened.
        """
        with damaged_tasks(RecordError, MediaError):
            return next(islice(self._selected(slot).take(index, 1), 1), None)

    def _selected(self, slot: Slot) -> TaskSource:
        mine = self._of_thread
        if not hasattr(mine, "selected"):
            mine.seeds, mine.selected = self._opened(), {}
        key = slot.source, slot.kind, slot.needs_operation
        if key not in mine.selected:
            tasks: TaskSource = mine.seeds[slot.source].tasks
            mine.selected[key] = tasks.select(kind=slot.kind, needs_operation=slot.needs_operation)
        return mine.selected[key]

    def _opened(self) -> Sequence[Seeds]:
        # Opening one after the other: an index that is written to the disk is then there for the next.
        with self._lock:
            given, self._given = self._given, None
            return given or build_seeds(self._config)
