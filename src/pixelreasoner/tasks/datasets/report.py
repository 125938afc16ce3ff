"""What was found in a data set when it was opened: forms of answers, and rows that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pixelreasoner.core.display import counted

SHOWN_ROWS = 3
"""Rows of one reason that are named."""


class UnusableError(Exception):
    """A row that no task can be made of. It never leaves `tasks.datasets`: the row is counted instead."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Why.

        Args:
            reason: what the rows of this kind are counted under: "no answer".
            detail: of this row.
        """
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


@dataclass
class LeftOut:
    """The rows that cannot be used for one reason."""

    rows: int = 0
    examples: list[str] = field(default_factory=list[str])
    """Where the first of them are, and what is wrong there."""


@dataclass
class LoadReport:
    """Counts of the rows of a data set."""

    name: str
    """The data set's, and where it lies."""
    rows: int = 0
    """All of the split, usable or not."""
    forms: Counter[str] = field(default_factory=Counter[str])
    """Usable rows by the form of their answers (`tasks.datasets.answers`)."""
    left_out: dict[str, LeftOut] = field(default_factory=dict[str, LeftOut])
    """By reason."""
    noun: str = "row"
    """What is counted."""

    def use(self, form: str, n: int = 1) -> None:
        """Count a usable row, or several; without answers, their form is empty."""
        self.rows += n
        if form:
            self.forms[form] += n

    def leave_out(self, place: str, error: UnusableError) -> None:
        """Count a row that cannot be used."""
        self.rows += 1
        entry = self.left_out.setdefault(error.reason, LeftOut())
        entry.rows += 1
        if len(entry.examples) < SHOWN_ROWS:
            entry.examples.append(f"{place}: {error.detail}" if error.detail else place)

    @property
    def unusable(self) -> int:
        """Rows that cannot be used."""
        return sum(entry.rows for entry in self.left_out.values())

    @property
    def summary(self) -> str:
        """One line: how many rows there are, and how many are left out for which reasons."""
        reasons = ", ".join(f"{reason} ({entry.rows})" for reason, entry in self.left_out.items())
        left_out = f"; {self.unusable} left out: {reasons}" if reasons else ""
        return f"{self.name}: {counted(self.rows, self.noun)}{left_out}"

    def lines(self) -> Iterator[str]:
        """The reasons, most frequent first, each followed by the first rows it holds for."""
        for reason, entry in sorted(self.left_out.items(), key=lambda item: -item[1].rows):
            yield f"{counted(entry.rows, self.noun)} left out: {reason}"
            yield from (f"  {example}" for example in entry.examples)


@runtime_checkable
class Reported(Protocol):
    """A source that says what was found when it was opened."""

    @property
    def report(self) -> LoadReport: ...
