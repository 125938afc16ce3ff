"""Log-probabilities of the loss tokens of a packed row: one pass for a whole group, or several.

Shape legend: N loss tokens of the row, T its tokens, D hidden width.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pixelreasoner.models import logprobs
from pixelreasoner.models.logprobs import TokenScores
from pixelreasoner.models.packing import PackedRow
from pixelreasoner.models.shared_prefix import use_shared_prefix
from pixelreasoner.models.vlm import Features, VisionLanguageModel


def score_packed(
    model: VisionLanguageModel,
    row: PackedRow,
    features: dict[str, Features],
    *,
    temperature: float = 1.0,
    forbidden_ids: Collection[int] = (),
) -> TokenScores:
    """What `logprobs.score_tokens` gives for the attempts of the row, in the order they were packed.

    From then on `model` computes its attention through `models.shared_prefix`, which changes nothing else.
    """
    hidden_TD = _hidden(model, row, features)
    at_N, target_N = (torch.from_numpy(x).to(hidden_TD.device) for x in (row.at_N, row.target_N))
    return _score_hidden(model, hidden_TD[at_N], target_N, temperature, forbidden_ids)


def _hidden(model: VisionLanguageModel, row: PackedRow, features: dict[str, Features]) -> Tensor:
    """Hidden states after the final norm, [T, D]."""
    use_shared_prefix(model.decoder)
    batch = model.embed([row.layout], features, left=False)
    extra: dict[str, Any] = {}
    if batch.deepstack:
        extra = {"visual_pos_masks": batch.visual_BT, "deepstack_visual_embeds": batch.deepstack}
    out = model.decoder(
        inputs_embeds=batch.embeds_BTD,
        attention_mask=None,
        position_ids=batch.position_3BT,
        use_cache=False,
        shared_prefix=row.plan,
        **extra,
    )
    return out.last_hidden_state[0]


def _score_hidden(
    model: VisionLanguageModel,
    hidden_ND: Tensor,
    target_N: Tensor,
    temperature: float,
    forbidden_ids: Collection[int],
) -> TokenScores:
    """Vocabulary scores exist for one chunk of loss tokens at a time."""
    forbidden = torch.tensor(sorted(forbidden_ids), dtype=torch.long, device=hidden_ND.device)
    chunk = max(1, min(logprobs.CHUNK, logprobs.CHUNK_SCORES // model.hf.lm_head.out_features))
    logp, entropy = [], []
    for start in range(0, max(1, len(target_N)), chunk):
        piece = slice(start, start + chunk)
        args = (model, hidden_ND[piece], target_N[piece], temperature, forbidden)
        if torch.is_grad_enabled() and len(target_N) > chunk:
            out = checkpoint(logprobs._score, *args, use_reentrant=False)
        else:
            out = logprobs._score(*args)
        logp.append(out[0])
        entropy.append(out[1])
    return TokenScores(torch.cat(logp), torch.cat(entropy))
