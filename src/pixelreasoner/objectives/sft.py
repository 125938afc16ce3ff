"""Instruction tuning: mean negative log-likelihood of the loss tokens.

    L = - sum_t w_t * log pi_theta(t),      w_t = 1 / (loss tokens of the whole batch)

The mean is over the tokens of the batch, not of each row: the losses of rows add up to it, and a short
trajectory's tokens weigh as much as a long one's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pixelreasoner.models.logprobs import TokenScores
from pixelreasoner.objectives.objective import LossOutputs
from pixelreasoner.objectives.packing import PackedRow


@dataclass(frozen=True)
class SftObjective:
    """Imitation of the trajectories of a batch."""

    @property
    def sampled_by_policy(self) -> bool:
        return False

    @property
    def temperature(self) -> float:
        return 1.0

    def token_weights(self, n_loss_tokens: Sequence[int]) -> list[float]:
        return [1.0 / max(sum(n_loss_tokens), 1)] * len(n_loss_tokens)

    def __call__(self, scores: TokenScores, row: PackedRow) -> LossOutputs:
        weight_N = torch.from_numpy(row.weight_N).to(scores.logp_N.device)
        return LossOutputs(loss=-(weight_N * scores.logp_N).sum())
