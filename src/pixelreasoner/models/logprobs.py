"""Log-probabilities of given tokens, on the loss positions only; the same for SFT and for RL.

Shape legend: T tokens of a row, N loss tokens, D hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pixelreasoner.chat.layout import IntArray, Layout
from pixelreasoner.models.attention.shared_prefix import PrefixPlan
from pixelreasoner.models.vlm import Features, VisionLanguageModel

CHUNK = 4096
"""The most loss tokens whose vocabulary scores exist at one time."""
CHUNK_SCORES = 2**26
"""The most vocabulary scores that exist at one time: with a large vocabulary, chunks are shorter."""


@dataclass(frozen=True, eq=False)
class TokenScores:
    """Scores of the loss tokens, in order."""

    logp_N: Tensor
    entropy_N: Tensor
    """Entropy of the predicted distribution in nats; carries no gradient."""


class Row(Protocol):
    """What is scored: one row of model input without padding (`objectives.packing.PackedRow`)."""

    @property
    def layout(self) -> Layout: ...

    @property
    def plan(self) -> PrefixPlan:
        """Who attends to whom."""
        ...

    @property
    def at_N(self) -> IntArray:
        """Where each loss token is predicted."""
        ...

    @property
    def target_N(self) -> IntArray:
        """The loss tokens."""
        ...


def score_row(
    model: VisionLanguageModel,
    row: Row,
    features: dict[str, Features],
    *,
    temperature: float = 1.0,
    forbidden_ids: Collection[int] = (),
) -> TokenScores:
    """log p(token | everything before it in its trajectory), for the loss tokens of a row.

    `temperature` divides the scores and `forbidden_ids` are given no probability, both as the sampler does
    it, so that ratios compare like with like. The decoder's attention knows prefix plans, as that of every
    loaded model does.
    """
    batch = model.embed([row.layout], features, left=False)
    # One row has no padding, so transformers makes no mask; the plan alone says who attends to whom.
    hidden_TD = model(batch, shared_prefix=row.plan)[0]
    at_N, target_N = (torch.from_numpy(x).to(hidden_TD.device) for x in (row.at_N, row.target_N))
    return score_hidden(
        model, hidden_TD[at_N], target_N, temperature=temperature, forbidden_ids=forbidden_ids
    )


def score_hidden(
    model: VisionLanguageModel,
    hidden_ND: Tensor,
    target_N: Tensor,
    *,
    temperature: float = 1.0,
    forbidden_ids: Collection[int] = (),
) -> TokenScores:
    """Scores of the target tokens, each given the hidden state [D] that it is predicted from."""
    forbidden = torch.tensor(sorted(forbidden_ids), dtype=torch.long, device=hidden_ND.device)
    chunk = max(1, min(CHUNK, CHUNK_SCORES // model.hf.lm_head.out_features))
    logp, entropy = [], []
    for start in range(0, max(1, len(target_N)), chunk):
        piece = slice(start, start + chunk)
        args = (model, hidden_ND[piece], target_N[piece], temperature, forbidden)
        if torch.is_grad_enabled() and len(target_N) > chunk:
            # Scores are thrown away and recomputed in the backward pass: only one chunk is ever alive.
            out = checkpoint(_score, *args, use_reentrant=False)
        else:
            out = _score(*args)
        logp.append(out[0])
        entropy.append(out[1])
    return TokenScores(torch.cat(logp), torch.cat(entropy))


def _score(
    model: VisionLanguageModel, hidden_ND: Tensor, target_N: Tensor, temperature: float, forbidden: Tensor
) -> tuple[Tensor, Tensor]:
    logits_NV = model.logits(hidden_ND)
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32)) / temperature
    if len(forbidden):
        logits_NV = logits_NV.index_fill(-1, forbidden, -torch.inf)
    log_p_NV = logits_NV.log_softmax(-1)
    logp_N = log_p_NV.gather(-1, target_N[:, None])[:, 0]
    with torch.no_grad():
        # An impossible token contributes 0 log 0 = 0, not a NaN.
        entropy_N = -(log_p_NV.exp() * log_p_NV.clamp_min(torch.finfo(log_p_NV.dtype).min)).sum(-1)
    return logp_N, entropy_N
