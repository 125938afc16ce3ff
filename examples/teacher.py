"""A teacher of your own. A recipe names it: `teacher = { use = "examples.teacher:Terse" }`."""

from dataclasses import dataclass

import numpy as np

from pixelreasoner.synth.outline import Outline
from pixelreasoner.synth.teacher import TrajectoryTexts


@dataclass(frozen=True)
class Terse:
    """Says little. `options = { verb = "Check" }` in the recipe gives the fields."""

    verb: str = "Inspect"

    async def write(self, outline: Outline, rng: np.random.Generator) -> TrajectoryTexts:
        """One text before each operation, and the last message; a teacher may await a server here."""
        task = outline.task
        before = tuple(f"{self.verb} {task.subject}." for _ in outline.steps)
        return TrajectoryTexts(before, f"{task.claim} \\boxed{{{task.answers[0]}}}")
