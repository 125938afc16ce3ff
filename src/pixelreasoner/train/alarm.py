"""The collapse alarm: a warning, while the run goes on, that a policy stops using operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class CollapseAlarm:
    """Watches RaPR, smoothed; warns once each time it falls towards zero.

    "The learning trap" (paper section 4.2): while many calls of operations fail, text alone earns more. The
    policy then stops using operations, and never gets better at them. What the alarm has seen belongs to the
    run's state: a resumed run warns exactly where an uninterrupted one would.
    """

    floor: float = 0.1
    """The smoothed RaPR that counts as collapsed."""
    smoothing: float = 0.9
    """Weight of the past in the running mean."""
    mean: float | None = None
    peak: float = 0.0
    raised: bool = False

    def watch(self, rapr: float) -> str | None:
        """Take one step's RaPR; returns a warning when the alarm goes off, else None."""
        past = self.smoothing
        self.mean = rapr if self.mean is None else past * self.mean + (1 - past) * rapr
        self.peak = max(self.peak, self.mean)
        if self.mean > 2 * self.floor:
            self.raised = False
        if self.raised or self.mean >= self.floor or self.peak < 2 * self.floor:
            return None
        self.raised = True
        return (
            f"RaPR is collapsing: it fell from {self.peak:.2f} to {self.mean:.2f}. The policy falls back to "
            "text; raise rewards.curiosity.weight or its option H, or check that a crop helps on the tasks "
            "that need one"
        )

    def metrics(self) -> dict[str, float]:
        """For the run's metrics: the smoothed RaPR, and whether the alarm is on (1) or not (0)."""
        return {"rapr_smoothed": self.mean or 0.0, "collapse_alarm": float(self.raised)}

    def state_dict(self) -> dict[str, Any]:
        """What it has seen, as three numbers."""
        return {"mean": self.mean, "peak": self.peak, "raised": self.raised}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mean, self.peak, self.raised = state["mean"], state["peak"], state["raised"]
