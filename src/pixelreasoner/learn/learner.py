"""What turns groups into better weights: one protocol for one process and for many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from pixelreasoner.core.config import Config, Count, CountOrZero
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.objectives.scored_group import ScoredGroup


class LearnerConfig(Config):
    """What every learner is told; the objective is an argument of its own."""

    optim: OptimConfig
    total_updates: Count
    """Updates of the whole run: the learning rate's schedule ends with the last."""
    steps_per_update: Count = 1
    """Optimiser steps per update; the groups are shared out evenly."""
    max_row_tokens: Count = 16_384
    """The most tokens of a packed row: what is in memory at one time."""
    max_skipped_steps: CountOrZero = 0
    """Optimiser steps in a row that may be left out because their loss or gradient norm is not finite."""


class Learner(Protocol):
    """Weights and optimiser."""

    def update(self, groups: Sequence[ScoredGroup]) -> dict[str, float]:
        """Take the optimiser steps of one update; returns the metrics of its loss tokens.

        Groups without an advantage change nothing but the normalisation; without any, no step is taken. A
        step whose loss or gradient norm is not finite is left out: weights and optimiser stay as they were,
        its tokens are in none of the metrics, and `skipped_steps` counts it.

        Raises:
            NonFiniteError: the weights are not finite, or more steps in a row would have to be left out than
                the configuration allows; the learner is of no more use then.
        """
        ...

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """The current weights by name; not copies."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    def save(self, folder: Path) -> None:
        """Write a complete checkpoint folder."""
        ...
