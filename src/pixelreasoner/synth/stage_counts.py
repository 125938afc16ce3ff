"""Where the slots of a run are: how many are past each stage, and how many tasks fell there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pixelreasoner.core.progress_line import Row
from pixelreasoner.synth.rejection import Stage

ORDER: tuple[Stage, ...] = ("propose", "outline", "ocr", "difficulty", "write", "compose", "judge")
"""The stages in the order in which a task comes to them."""


@dataclass(frozen=True)
class StageFacts:
    """What happens at the stages."""

    here: Counter[Stage] = field(default_factory=Counter[Stage])
    """Slots that are at a stage now."""
    rejected: Counter[Stage] = field(default_factory=Counter[Stage])
    """Tasks, by the stage that turned them down."""
    entered: frozenset[Stage] = frozenset()
    """Stages that a slot came to."""

    def __add__(self, other: StageFacts) -> StageFacts:
        return StageFacts(
            self.here + other.here, self.rejected + other.rejected, self.entered | other.entered
        )


class StageCounts:
    """Counts of the slots that are made by one event loop."""

    def __init__(self, done: int, rejected: Mapping[Stage, int] | None = None) -> None:
        """Counts.

        Args:
            done: slots that were made before.
            rejected: tasks that were rejected before, by stage.
        """
        self.done = done
        """Slots that are made."""
        self.rejected: Counter[Stage] = Counter(rejected or {})
        """Tasks, by the stage that turned them down; of this process and of those before it."""
        self.elsewhere = StageFacts()
        """What other processes have told."""
        self._at: dict[int, Stage] = {}
        self._entered: set[Stage] = set(self.rejected)

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

    def facts(self) -> StageFacts:
        """What happens in this process."""
        return StageFacts(Counter(self._at.copy().values()), self.rejected.copy(), frozenset(self._entered))

    def rows(self) -> Sequence[Row]:
        """For each stage that a slot came to: slots that are past it now, and what happened there."""
        facts = self.facts() + self.elsewhere
        rows: list[Row] = []
        past = self.done
        for stage in reversed(ORDER):
            if stage in facts.entered:
                counts = {"now": facts.here[stage], "rejected": facts.rejected[stage]}
                text = "  ".join(f"{count} {name}" for name, count in counts.items() if count)
                rows.append(Row(stage, past, text))
            past += facts.here[stage]
        return rows[::-1]
