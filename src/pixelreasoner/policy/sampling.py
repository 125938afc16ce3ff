"""Drawing tokens from scores: the one rule all engines in this process share.

Shape legend: B rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from pixelreasoner.policy.base import Sampling


def sample_tokens(
    logits_BV: Tensor, uniform_B: Tensor, sampling: Sampling, forbidden_ids: Collection[int]
) -> tuple[Tensor, Tensor]:
    """One token per row by inverse transform sampling, and its log-probability.

    Args:
        logits_BV: scores, float32; those of `forbidden_ids` are overwritten.
        uniform_B: float64 numbers in [0, 1), one per row; not looked at when the temperature is 0.
        sampling: temperature and nucleus.
        forbidden_ids: tokens that get no probability.
    """
    logits_BV[:, list(forbidden_ids)] = -torch.inf
    if sampling.temperature == 0:
        logp_BV = logits_BV.log_softmax(-1)
        token_B = logp_BV.argmax(-1)
        return token_B, logp_BV.gather(-1, token_B[:, None])[:, 0]
    logp_BV = (logits_BV / sampling.temperature).log_softmax(-1)
    weight_BV = nucleus(logp_BV.exp().double(), sampling.top_p)
    cumulative_BV = weight_BV.cumsum(-1)
    target_B1 = (uniform_B.to(weight_BV.device) * cumulative_BV[:, -1])[:, None]
    token_B = torch.searchsorted(cumulative_BV, target_B1, right=True)[:, 0]
    return token_B, logp_BV.gather(-1, token_B[:, None])[:, 0]


def nucleus(p_BV: Tensor, top_p: float) -> Tensor:
    """`p_BV` with everything outside the smallest set of mass `top_p` set to zero."""
    if top_p >= 1:
        return p_BV
    ordered, order = p_BV.sort(-1, descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    return p_BV.masked_fill(outside.gather(-1, order.argsort(-1)), 0.0)
