"""What a model is shown in the place of what an operation returned: the seam for controls of an evaluation.

A rollout with a replacement is no plain one. Its record says so: `Observation.replaced` holds the name of the
replacement wherever the model was shown something else, and the calls stay as the model wrote them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed

from pixelreasoner.core.trajectory import Observation
from pixelreasoner.ops.image_context import ImageContext

Show = Callable[[Observation, int, ImageContext], Observation]
"""(what the operation returned, the turn that asked for it, from 0, what the model has seen before) -> what
it is shown. A pure function: the same arguments give the same observation."""


@dataclass(frozen=True)
class Replacement:
    """A named way to replace the results of operations.

    A call that was refused stays refused, and is not given to `show`. What `show` returns says itself whether
    it is valid, so that an operation counts (`Trajectory.n_operations`) as it would have.
    """

    name: str
    show: Show

    def __post_init__(self) -> None:
        assert self.name, "a record could not say that something was replaced"

    def apply(self, observation: Observation, turn: int, context: ImageContext) -> Observation:
        """What the model is shown, marked with the name."""
        if not observation.valid:
            return observation
        return changed(self.show(observation, turn, context), replaced=self.name)
