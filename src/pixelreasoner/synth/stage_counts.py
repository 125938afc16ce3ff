"""Where the slots of a run are: how many are past each stage, and how many tasks fell there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pixelreasoner.core.progress_line import Row
from pixelreasoner.synth.rejection import Stage

ORDER: tuple[Stage, ...] = ("propose", "outline", "difficulty", "write", "compose", "judge")
"""The stages in the order in which a task comes to them."""


class StageCounts:
    """Counts of the slots that are made by one event loop."""

    def __init__(self, done: int) -> None:
        """Counts.

        Args:
            done: slots that were made before.
        """
        self.done = done
        """Slots that are made."""
        self.rejected: Counter[Stage] = Counter()
        """Tasks, by the stage that turned them down; of this process."""
        self._at: dict[int, Stage] = {}
        self._entered: set[Stage] = set()

    def enter(self, number: int, stage: Stage) -> None:
        """Slot `number` comes to a stage."""
        self._at[number] = stage
        self._entered.add(stage)

    def reject(self, number: int, stage: Stage) -> None:
        """The task of slot `number` is turned down."""
        self._at.pop(number, None)
        self.rejected[stage] += 1

    def leave(self, number: int, *, made: bool) -> None:
        """Slot `number` is made, or stays undone."""
        self._at.pop(number, None)
        self.done += made

    def rows(self) -> Sequence[Row]:
        """For each stage that a slot came to: slots that are past it now, and what happened there."""
        here = Counter(self._at.copy().values())
        rows: list[Row] = []
        past = self.done
        for stage in reversed(ORDER):
            if stage in self._entered:
                facts = {"now": here[stage], "rejected": self.rejected[stage]}
                text = "  ".join(f"{count} {name}" for name, count in facts.items() if count)
                rows.append(Row(stage, past, text))
            past += here[stage]
        return rows[::-1]
