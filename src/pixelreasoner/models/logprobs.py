"""Log-probabilities of given tokens, on the loss positions only.

Shape legend: B rows, T tokens, N loss tokens of the batch, D hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.vlm import Features, VisionLanguageModel

CHUNK = 4096
"""Loss tokens whose vocabulary scores exist at one time."""


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
) -> TokenScores:
    """log p(token | everything before it) for the tokens marked in each row.

    `rows` pairs a layout with a mask over its RECORDED tokens (one entry per placeholder, not expanded).
    `temperature` divides the scores, as the sampler's does, so that ratios compare like with like.
    """
    batch = model.embed([layout for layout, _ in rows], features, left=False)
    hidden_BTD = model(batch)
    row_index, token_index, targets = [], [], []
    for b, (layout, mask) in enumerate(rows):
        at = np.flatnonzero(mask[layout.owner_T])
        assert len(at) == 0 or at[0] > 0, "the first token of a conversation has nothing to be predicted from"
        row_index.append(np.full(len(at), b))
        token_index.append(at - 1)
        targets.append(layout.ids_T[at])
    device = hidden_BTD.device
    b_N = torch.from_numpy(np.concatenate(row_index)).to(device)
    t_N = torch.from_numpy(np.concatenate(token_index)).to(device)
    target_N = torch.from_numpy(np.concatenate(targets)).to(device)
    hidden_ND = hidden_BTD[b_N, t_N]
    logp, entropy = [], []
    for start in range(0, len(target_N), CHUNK):
        piece = slice(start, start + CHUNK)
        args = (model, hidden_ND[piece], target_N[piece], temperature)
        # Scores are thrown away and recomputed in the backward pass: only one chunk is ever alive.
        out = checkpoint(_score, *args, use_reentrant=False) if torch.is_grad_enabled() else _score(*args)
        logp.append(out[0])
        entropy.append(out[1])
    return TokenScores(torch.cat(logp), torch.cat(entropy))


def _score(
    model: VisionLanguageModel, hidden_ND: Tensor, target_N: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    log_p_NV = (model.logits(hidden_ND).float() / temperature).log_softmax(-1)
    logp_N = log_p_NV.gather(-1, target_N[:, None])[:, 0]
    with torch.no_grad():
        entropy_N = -(log_p_NV.exp() * log_p_NV).sum(-1)
    return logp_N, entropy_N
