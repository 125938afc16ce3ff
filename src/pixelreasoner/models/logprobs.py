"""Log-probabilities of given tokens, on the loss positions only.

Shape legend: B rows, T tokens, N loss tokens of the batch, D hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.vlm import Features, VisionLanguageModel

CHUNK = 4096
"""The most loss tokens whose vocabulary scores exist at one time."""
CHUNK_SCORES = 2**26
"""The most vocabulary scores that exist at one time: with a large vocabulary, chunks are shorter."""


@dataclass(frozen=True, eq=False)
class TokenScores:
    """Scores of the loss tokens, rows one after another, in order."""

    logp_N: Tensor
    entropy_N: Tensor
    """Entropy of the predicted distribution in nats; carries no gradient."""


def score_tokens(
    model: VisionLanguageModel,
    rows: Sequence[tuple[Layout, npt.NDArray[np.bool_]]],
    features: dict[str, Features],
    *,
    temperature: float = 1.0,
    forbidden_ids: Collection[int] = (),
) -> TokenScores:
    """log p(token | everything before it) for the tokens marked in each row.

    `rows` pairs a layout with a mask over its RECORDED tokens (one entry per placeholder, not expanded).
    `temperature` divides the scores and `forbidden_ids` are given no probability, both as the sampler does
    it, so that ratios compare like with like.
    """
    batch = model.embed([layout for layout, _ in rows], features, left=False)
    hidden_BTD = model(batch)
    at_N, target_N = (torch.from_numpy(x).to(hidden_BTD.device) for x in _targets(rows, hidden_BTD.shape[1]))
    return score_hidden(
        model, hidden_BTD.flatten(0, 1)[at_N], target_N, temperature=temperature, forbidden_ids=forbidden_ids
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


def _targets(
    rows: Sequence[tuple[Layout, npt.NDArray[np.bool_]]], width: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where in the flattened batch each loss token is predicted, and which token it is: [N] both."""
    where, targets = [], []
    for b, (layout, mask) in enumerate(rows):
        at = np.flatnonzero(mask[layout.owner_T])
        assert len(at) == 0 or at[0] > 0, "the first token of a conversation has nothing to be predicted from"
        where.append(b * width + at - 1)
        targets.append(layout.ids_T[at])
    return np.concatenate(where), np.concatenate(targets)


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
