"""What a learner minimises: a function of the scores of a row's loss tokens, and of the row.

Shapes: N loss tokens of a row, trajectory after trajectory. Prompts, observations and padding are not in N:
there is nothing to mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from pixelreasoner.models.logprobs import TokenScores
from pixelreasoner.objectives.packing import PackedRow


@dataclass(frozen=True)
class LossOutputs:
    loss: Tensor
    """Scalar, to be minimised; the losses of a batch's rows add up to the batch's."""
    metrics: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Detached scalars, each a plain mean over the N tokens of the row (weigh by N to combine rows)."""
    maxima: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Detached scalars, each the largest value at any of the N tokens."""


class Objective(Protocol):
    """Stateless; the same scores and the same row give the same loss."""

    @property
    def sampled_by_policy(self) -> bool:
        """Whether the tokens were sampled by the policy that is trained.

        Log-probabilities are then taken as the sampler took them (at its temperature, without the tokens it
        may not sample), and the row brings the sampler's own.
        """
        ...

    @property
    def temperature(self) -> float:
        """What the vocabulary scores are divided by."""
        ...

    def token_weights(self, n_loss_tokens: Sequence[int]) -> Sequence[float]:
        """The weight of each trajectory's tokens, given the loss-token counts of ALL of the batch."""
        ...

    def __call__(self, scores: TokenScores, row: PackedRow) -> LossOutputs:
        """The loss of one row."""
        ...
