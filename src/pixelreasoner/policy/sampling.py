"""Sampling tokens from scores: the one rule of all engines in this process.

Shape legend: B rows, V vocabulary, F forbidden tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pixelreasoner.policy.base import Sampling


def sample_tokens(
    logits_BV: Tensor, uniform_B: Tensor, samplings: Sequence[Sampling], forbidden_F: Tensor
) -> tuple[Tensor, Tensor]:
    """One token per row by inverse transform sampling, and its log-probability.

    A row's token depends on its own scores, number and sampling only. Of scores that are not finite the
    log-probability is not finite either, and the token means nothing.

    Args:
        logits_BV: scores, float32; those of `forbidden_F` are overwritten.
        uniform_B: float64 numbers in [0, 1), one per row; not used where the temperature is 0.
        samplings: temperature and nucleus of each row.
        forbidden_F: ids of the tokens that get no probability, on the device of the scores.
    """
    logits_BV.index_fill_(1, forbidden_F, -torch.inf)
    n_greedy = sum(sampling.temperature == 0 for sampling in samplings)
    if n_greedy == len(samplings):
        logp_BV = logits_BV.log_softmax(-1)
        token_B = logp_BV.argmax(-1)
        return token_B, logp_BV.gather(-1, token_B[:, None])[:, 0]

    temperature, top_p = _per_row(samplings, logits_BV.device)
    logp_BV = (logits_BV / temperature).log_softmax(-1)
    token_B = _inverse_transform(nucleus(logp_BV.exp().double(), top_p), uniform_B)
    if n_greedy:
        is_greedy_B = torch.tensor([s.temperature == 0 for s in samplings], device=logits_BV.device)
        token_B = torch.where(is_greedy_B, logp_BV.argmax(-1), token_B)
    return token_B, logp_BV.gather(-1, token_B[:, None])[:, 0]


def _per_row(samplings: Sequence[Sampling], device: torch.device) -> tuple[float | Tensor, float | Tensor]:
    """Temperature and nucleus: one number where all rows agree, otherwise [B, 1]. Greedy rows have 1."""
    first = samplings[0]
    if all(sampling is first for sampling in samplings):
        return first.temperature, first.top_p
    temperature_B1 = torch.tensor([[s.temperature or 1.0] for s in samplings], device=device)
    if all(sampling.top_p == 1 for sampling in samplings):
        return temperature_B1, 1.0
    # A sum of rounded probabilities may reach 1 before the last of them.
    masses = [[s.top_p if s.top_p < 1 else math.inf] for s in samplings]
    return temperature_B1, torch.tensor(masses, dtype=torch.float64, device=device)


def _inverse_transform(weight_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """The first token whose cumulative weight exceeds the row's number, [B]; weights need not sum to 1."""
    cumulative_BV = weight_BV.cumsum(-1)
    target_B1 = (uniform_B.to(weight_BV.device) * cumulative_BV[:, -1])[:, None]
    # Of weights that are not finite the place is one past the last; their log-probability tells the caller.
    last = weight_BV.shape[-1] - 1
    return torch.searchsorted(cumulative_BV, target_B1, right=True)[:, 0].clamp_(max=last)


def nucleus(p_BV: Tensor, top_p: float | Tensor) -> Tensor:
    """`p_BV` with everything outside the smallest set of mass `top_p` set to zero.

    `top_p` is one number, or one for each row, [B, 1].
    """
    if isinstance(top_p, float) and top_p >= 1:
        return p_BV
    ordered, order = p_BV.sort(-1, descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    return p_BV.masked_fill(outside.gather(-1, order.argsort(-1)), 0.0)
