r"""GRPO: the clipped policy gradient with group advantages, on a flat row of loss tokens.

For the loss tokens t of a batch, each with its trajectory's advantage A_t::

    rho_t = pi_theta(t) / pi_behavior(t)
    L     = - sum_t  w_t * min( min(rho_t, C) * A_t,  clip(rho_t, 1 - eps_low, 1 + eps_high) * A_t )

On the first update after sampling rho = 1, and the gradient is that of REINFORCE:
-sum_t w_t * A_t * grad log pi(t). C (dual-clip, arXiv 1912.09729) only matters where A_t < 0, which the clip
leaves unbounded: with it, one token that became likely since it was sampled cannot outweigh the batch. There
is no KL term and no reference model, as in the authors' scripts.

w_t carries the normalisation (`sample_weights`), so L is a plain sum and the losses of rows add up to that of
the batch.

Shapes: T loss tokens of all trajectories of the row, one after the other. Prompts, observations and padding
are not in T: there is nothing to mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from pixelreasoner.core.config import Config
from pixelreasoner.models.logprobs import TokenScores
from pixelreasoner.objectives.objective import LossOutputs
from pixelreasoner.objectives.packing import PackedRow

_MAX_LOG_RATIO = 20.0
"""Keeps exp() finite. No gradient passes beyond it: a clip stops the token there, or its ratio is 0."""


class GrpoConfig(Config):
    """The paper names GRPO and gives no clip range; its authors' released code uses 0.2 and 0.35."""

    clip_low: float = Field(default=0.2, ge=0, lt=1)
    """eps_low."""
    clip_high: float = Field(default=0.2, ge=0)
    """eps_high; above eps_low it lets rare tokens grow faster (DAPO's clip-higher)."""
    dual_clip: float | None = 2.0
    """C; None leaves the ratio unbounded where the advantage is negative, as plain PPO does. Above
    1 + clip_high."""
    normalization: Literal["token", "sequence", "constant"] = "token"
    """Mean over all tokens of the batch; mean over trajectories of each one's token mean (the GRPO paper); or
    mean over trajectories of each one's token sum over `constant_length` (Dr. GRPO; the released code
    uses 200)."""
    constant_length: int = Field(default=200, ge=1)
    """Tokens; only read with normalization = "constant"."""

    @model_validator(mode="after")
    def _dual_clip_above_clip(self) -> GrpoConfig:
        if self.dual_clip is not None and self.dual_clip <= 1 + self.clip_high:
            raise ValueError(
                f"dual_clip = {self.dual_clip} must be above 1 + clip_high = {1 + self.clip_high}: "
                "below it, dual-clip would silently replace the clip"
            )
        return self


@dataclass(frozen=True)
class LossInputs:
    """The loss tokens of one row."""

    logp_T: Tensor
    """[T] log pi_theta, with gradient."""
    behavior_logp_T: Tensor
    """[T] log pi_behavior, recorded when the token was sampled."""
    advantage_T: Tensor
    """[T] A of the trajectory each token belongs to."""
    weight_T: Tensor
    """[T] w, from `sample_weights` over the whole batch."""
    entropy_T: Tensor | None = None
    """[T] entropy of pi_theta at each token, if it was computed; only reported."""


@dataclass(frozen=True)
class GrpoObjective:
    """GRPO on packed rows of rollouts."""

    config: GrpoConfig
    temperature: float = 1.0
    """The sampler's."""

    @property
    def sampled_by_policy(self) -> bool:
        return True

    def token_weights(self, n_loss_tokens: Sequence[int]) -> list[float]:
        return sample_weights(n_loss_tokens, self.config)

    def __call__(self, scores: TokenScores, row: PackedRow) -> LossOutputs:
        behavior_T, advantage_T, weight_T = (
            torch.from_numpy(values).to(scores.logp_N.device)
            for values in (row.behavior_logp_N, row.advantage_N, row.weight_N)
        )
        return grpo_loss(
            LossInputs(scores.logp_N, behavior_T, advantage_T, weight_T, scores.entropy_N), self.config
        )


def grpo_loss(inputs: LossInputs, config: GrpoConfig) -> LossOutputs:
    """The equation at the top of this file.

    Metrics: `ratio`, `clip_fraction` (tokens without gradient because of clip or dual-clip), `approx_kl`
    (KL(behavior || theta), Schulman's k3 estimator), and `entropy` if it was given. Maxima: `ratio_max`; on
    the first update after sampling the weights are the sampler's, and its distance from 1 is what their
    arithmetic differs by.
    """
    advantage_T = inputs.advantage_T
    log_ratio_T = (inputs.logp_T - inputs.behavior_logp_T).clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)
    ratio_T = log_ratio_T.exp()
    capped_T = ratio_T if config.dual_clip is None else ratio_T.clamp(max=config.dual_clip)
    clipped_T = ratio_T.clamp(1 - config.clip_low, 1 + config.clip_high)
    gain_T = torch.minimum(capped_T * advantage_T, clipped_T * advantage_T)
    loss = -(inputs.weight_T * gain_T).sum()
    return LossOutputs(
        loss=loss,
        metrics=_metrics(inputs, ratio_T, log_ratio_T, config),
        maxima={"ratio_max": _max(ratio_T.detach())},
    )


def sample_weights(n_loss_tokens: Sequence[int], config: GrpoConfig) -> list[float]:
    """The w of each trajectory's tokens, given the loss-token counts of ALL trajectories of the batch.

    With "token" and "sequence" the weights of all tokens sum to 1 (trajectories without loss tokens are left
    out).
    """
    n_samples = sum(n > 0 for n in n_loss_tokens)
    if n_samples == 0:
        return [0.0] * len(n_loss_tokens)
    match config.normalization:
        case "token":
            return [1.0 / sum(n_loss_tokens)] * len(n_loss_tokens)
        case "sequence":
            return [1.0 / (n_samples * n) if n > 0 else 0.0 for n in n_loss_tokens]
        case "constant":
            return [1.0 / (n_samples * config.constant_length)] * len(n_loss_tokens)


@torch.no_grad()
def _metrics(
    inputs: LossInputs, ratio_T: Tensor, log_ratio_T: Tensor, config: GrpoConfig
) -> dict[str, Tensor]:
    positive_T, negative_T = inputs.advantage_T > 0, inputs.advantage_T < 0
    stopped_T = (positive_T & (ratio_T > 1 + config.clip_high)) | (
        negative_T & (ratio_T < 1 - config.clip_low)
    )
    if config.dual_clip is not None:
        stopped_T |= negative_T & (ratio_T > config.dual_clip)
    metrics = {
        "ratio": _mean(ratio_T),
        "clip_fraction": _mean(stopped_T.to(ratio_T.dtype)),
        "approx_kl": _mean(ratio_T - 1 - log_ratio_T),
    }
    if inputs.entropy_T is not None:
        metrics["entropy"] = _mean(inputs.entropy_T)
    return metrics


def _mean(values_T: Tensor) -> Tensor:
    """The mean; 0 of no tokens."""
    return values_T.sum() / max(values_T.numel(), 1)


def _max(values_T: Tensor) -> Tensor:
    """The largest; 0 of no tokens."""
    return values_T.max() if values_T.numel() else values_T.new_zeros(())
