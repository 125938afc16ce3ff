"""The collapse alarm: says that a policy is falling back to text before the run is over."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class CollapseAlarm:
    """Watches RaPR, smoothed; speaks once each time it falls towards zero.

    "The learning trap" (paper section 4.2): while operations are clumsy, text earns more, so the policy
    stops using them and never gets better at them.
    """

    floor: float = 0.1
    """The smoothed RaPR that counts as collapsed."""
    memory: float = 0.9
    """Weight of the past in the running mean."""
    mean: float | None = field(default=None)
    peak: float = field(default=0.0)
    raised: bool = field(default=False)

    def watch(self, rapr: float) -> str | None:
        """Take one step's RaPR; returns a warning when the alarm goes off, else None."""
        self.mean = rapr if self.mean is None else self.memory * self.mean + (1 - self.memory) * rapr
        self.peak = max(self.peak, self.mean)
        if self.mean > 2 * self.floor:
            self.raised = False
        if self.raised or self.mean >= self.floor or self.peak < 2 * self.floor:
            return None
        self.raised = True
        return (
            f"RaPR is collapsing: {self.mean:.2f}, down from {self.peak:.2f}. The policy is falling back to "
            "text; raise reward.alpha or reward.H, or check that a zoom pays on the tasks that need one"
        )
