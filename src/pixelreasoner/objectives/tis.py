r"""Truncated importance sampling (TIS): the detached ratio of trainer to sampler, a weight of the gradient.

What is trained with one engine and sampled with another (or with older weights, or in other arithmetic) is
off policy. The weight of a token corrects for it, truncated from above so that no token outweighs the batch::

    token       c_t = min( sg[ pi_theta(t) / pi_sampler(t) ], C )
    sequence    c_t = min( sg[ prod_s pi_theta(s) / pi_sampler(s) ], C )    s: loss tokens of t's trajectory

sg stops the gradient. The product over a trajectory (not the length-normalised mean of GSPO) is the ratio of
its whole probability: unbiased but for the truncation, and of large variance where trajectories are long. The
token's own ratio leaves out that what came before it was sampled by another policy too, and varies less.
Prompts, observations and masked tokens are in neither.

Sources: the truncated ratio of IMPALA (arXiv 1802.01561, section 4.1); for the mismatch of a trainer and a
sampler, Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training".

Shapes: T loss tokens of all trajectories of a row, one trajectory after the other.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

TisLevel = Literal["token", "sequence"]

MAX_LOG_RATIO = 20.0
"""Keeps exp() finite."""


@torch.no_grad()
def importance_ratio(log_ratio_T: Tensor, trajectory_T: Tensor | None, level: TisLevel) -> Tensor:
    """[T] The detached ratio that is truncated at C, before it is truncated.

    Args:
        log_ratio_T: log pi_theta - log pi_sampler of each token.
        trajectory_T: the number of each token's trajectory within the row, from 0; None with "token".
        level: of one token, or of its whole trajectory.
    """
    if level == "sequence" and log_ratio_T.numel():
        assert trajectory_T is not None, "whole trajectories need the number of each token's"
        sums = log_ratio_T.new_zeros(int(trajectory_T.max()) + 1).index_add_(0, trajectory_T, log_ratio_T)
        log_ratio_T = sums[trajectory_T]
    return log_ratio_T.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
