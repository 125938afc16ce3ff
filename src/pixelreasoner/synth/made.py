"""What a slot comes to: its trajectory, or none, and a record of every task that was turned down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.synth.rejection import RejectedError, Stage


@dataclass(frozen=True)
class Rejection:
    """A task of a slot's chain that gave no trajectory, and why."""

    index: int
    """Of the task among those of its set, kind and need."""
    task: str
    """Its id; empty where it could not be read."""
    stage: Stage
    reason: str
    detail: str = ""
    trajectory: Trajectory | None = None
    """As far as it had come; None where there was not yet an operation or a word."""

    @classmethod
    def of(cls, error: RejectedError, index: int, task: str, trajectory: Trajectory | None) -> Rejection:
        """The record of what a stage raised."""
        return cls(index, task, error.stage, error.reason, error.detail, trajectory)

    def row(self) -> dict[str, Any]:
        """As JSON values, without the trajectory."""
        row = {"task": self.task, "index": self.index, "stage": self.stage, "reason": self.reason}
        return row | ({"detail": self.detail} if self.detail else {})


@dataclass(frozen=True)
class Made:
    """All that a slot gives."""

    number: int
    """Of the slot."""
    trajectory: Trajectory | None
    """None where every task that may be tried was rejected: the slot stays unfilled."""
    rejections: tuple[Rejection, ...] = ()
    """Of the tasks before, in the order in which they were tried."""
