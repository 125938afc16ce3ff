r"""GRPO: the clipped policy gradient with group advantages, on a flat row of loss tokens.

For the loss tokens t of a batch, each with its trajectory's advantage A_t::

    rho_t = pi_theta(t) / pi_behavior(t)
    L     = - sum_t  w_t * min( min(rho_t, C) * A_t,  clip(rho_t, 1 - eps_low, 1 + eps_high) * A_t )

On the first update after sampling rho = 1, and the gradient is that of REINFORCE:
-sum_t w_t * A_t * grad log pi(t). C (dual-clip PPO, arXiv 1912.09729) only matters where A_t < 0, which the
clip leaves unbounded: with it, one token that became likely since it was sampled cannot outweigh the batch.
There is no KL term and no reference model, as in the authors' scripts.

With `tis`, truncated importance sampling stands in the place of the clipped ratio (sg stops the gradient)::

    L     = - sum_t  w_t * c_t * A_t * pi_theta(t) / sg[pi_theta(t)]        c_t: `objectives.tis`

Its gradient is -sum_t w_t * c_t * A_t * grad log pi(t): no token is without one, and none weighs more than C
times. The policy that the step starts from is its own old policy here, since every token is used in one
optimiser step per update; c_t takes up all that lies between it and the sampler. (Multiplied to the clipped
ratio above it would correct twice: that ratio is to the sampler already.)

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

from pixelreasoner.core.config import Config, Count
from pixelreasoner.models.logprobs import TokenScores
from pixelreasoner.objectives.objective import LossOutputs
from pixelreasoner.objectives.packing import PackedRow
from pixelreasoner.objectives.tis import MAX_LOG_RATIO, TisLevel, importance_ratio


class GrpoConfig(Config):
    """The paper names GRPO and gives no clip range; its authors' released code uses 0.2 and 0.35."""

    clip_low: float = Field(default=0.2, ge=0, lt=1)
    """eps_low."""
    clip_high: float = Field(default=0.2, ge=0, le=100)
    """eps_high; above eps_low it lets rare tokens grow faster (DAPO's clip-higher)."""
    dual_clip: float | None = Field(default=2.0, gt=1, le=1000)
    """C; None leaves the ratio unbounded where the advantage is negative, as plain PPO does. Above
    1 + clip_high."""
    tis: TisLevel | None = None
    """Truncated importance sampling, of each token or of whole trajectories, in the place of both clips; None
    clips."""
    tis_cap: float = Field(default=2.0, gt=0, le=1000)
    """C of truncated importance sampling; only read with `tis`."""
    normalization: Literal["token", "sequence", "constant"] = "token"
    """Mean over all tokens of the batch; mean over trajectories of each one's token mean (the GRPO paper); or
    mean over trajectories of each one's token sum over `constant_length` (Dr. GRPO; the released code
    uses 200)."""
    constant_length: Count = 200
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
    trajectory_T: Tensor | None = None
    """[T] the number of each token's trajectory, from 0; only read with `tis = "sequence"`."""
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
        behavior_T, advantage_T, weight_T, trajectory_T = (
            torch.from_numpy(values).to(scores.logp_N.device)
            for values in (row.behavior_logp_N, row.advantage_N, row.weight_N, row.trajectory_N)
        )
        inputs = LossInputs(
            scores.logp_N, behavior_T, advantage_T, weight_T, trajectory_T, entropy_T=scores.entropy_N
        )
        return grpo_loss(inputs, self.config)


def grpo_loss(inputs: LossInputs, config: GrpoConfig) -> LossOutputs:
    """The equations at the top of this file.

    Metrics: `ratio`, `approx_kl` (KL(behavior || theta), Schulman's k3 estimator), and `entropy` if it was
    given. With the clips: `clip_fraction`, tokens without gradient because of either, and
    `dual_clip_fraction`, those of dual-clip. With `tis`: `tis_ratio`, the mean of the detached ratio before
    it is truncated, and `tis_truncated`, the share of tokens that it is truncated at. Maxima: `ratio_max`;
    on the first update after sampling the weights are the sampler's, and its distance from 1 is what their
    arithmetic differs by.
    """
    log_ratio_T = (inputs.logp_T - inputs.behavior_logp_T).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratio_T = log_ratio_T.exp()
    if config.tis is None:
        gain_T, metrics = _clipped(ratio_T, inputs.advantage_T, config)
    else:
        gain_T, metrics = _truncated(inputs, log_ratio_T, config.tis, config.tis_cap)
    return LossOutputs(
        loss=-(inputs.weight_T * gain_T).sum(),
        metrics={**_metrics(inputs, ratio_T, log_ratio_T), **metrics},
        maxima={"ratio_max": _max(ratio_T.detach())},
    )


def _clipped(ratio_T: Tensor, advantage_T: Tensor, config: GrpoConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """[T] min(min(rho, C) * A, clip(rho) * A), and how many tokens have no gradient for it."""
    capped_T = ratio_T if config.dual_clip is None else ratio_T.clamp(max=config.dual_clip)
    clipped_T = ratio_T.clamp(1 - config.clip_low, 1 + config.clip_high)
    gain_T = torch.minimum(capped_T * advantage_T, clipped_T * advantage_T)
    positive_T, negative_T = advantage_T > 0, advantage_T < 0
    stopped_T = (positive_T & (ratio_T > 1 + config.clip_high)) | (
        negative_T & (ratio_T < 1 - config.clip_low)
    )
    dual_T = negative_T & (ratio_T > (torch.inf if config.dual_clip is None else config.dual_clip))
    return gain_T, {"clip_fraction": _share(stopped_T | dual_T), "dual_clip_fraction": _share(dual_T)}


def _truncated(
    inputs: LossInputs, log_ratio_T: Tensor, level: TisLevel, cap: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """[T] c * A * pi_theta / sg[pi_theta], and what the truncation does."""
    detached_T = importance_ratio(log_ratio_T, inputs.trajectory_T, level)
    own_T = (inputs.logp_T - inputs.logp_T.detach()).exp()  # 1, with the gradient of log pi
    gain_T = detached_T.clamp(max=cap) * inputs.advantage_T * own_T
    return gain_T, {"tis_ratio": _mean(detached_T), "tis_truncated": _share(detached_T > cap)}


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
def _metrics(inputs: LossInputs, ratio_T: Tensor, log_ratio_T: Tensor) -> dict[str, Tensor]:
    metrics = {"ratio": _mean(ratio_T), "approx_kl": _mean(ratio_T - 1 - log_ratio_T)}
    if inputs.entropy_T is not None:
        metrics["entropy"] = _mean(inputs.entropy_T)
    return metrics


def _mean(values_T: Tensor) -> Tensor:
    """The mean; 0 of no tokens."""
    return values_T.sum() / max(values_T.numel(), 1)


def _share(chosen_T: Tensor) -> Tensor:
    """The share of tokens that are chosen; 0 of no tokens."""
    return _mean(chosen_T.to(torch.float32))


def _max(values_T: Tensor) -> Tensor:
    """The largest; 0 of no tokens."""
    return values_T.max() if values_T.numel() else values_T.new_zeros(())
