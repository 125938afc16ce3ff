"""Log-probabilities of the loss tokens of a packed row: one pass for a whole group, or several.

Shape legend: N loss tokens of the row, T its tokens, D hidden width.
"""

from __future__ import annotations

from collections.abc import Collection

import torch

from pixelreasoner.models.logprobs import TokenScores, score_hidden
from pixelreasoner.models.packing import PackedRow
from pixelreasoner.models.vlm import Features, VisionLanguageModel


def score_packed(
    model: VisionLanguageModel,
    row: PackedRow,
    features: dict[str, Features],
    *,
    temperature: float = 1.0,
    forbidden_ids: Collection[int] = (),
) -> TokenScores:
    """What `logprobs.score_tokens` gives for the attempts of the row, in the order they were packed."""
    batch = model.embed([row.layout], features, left=False)
    # One row has no padding, so transformers makes no mask; the plan alone says who attends to whom.
    hidden_TD = model(batch, shared_prefix=row.plan)[0]
    at_N, target_N = (torch.from_numpy(x).to(hidden_TD.device) for x in (row.at_N, row.target_N))
    return score_hidden(
        model, hidden_TD[at_N], target_N, temperature=temperature, forbidden_ids=forbidden_ids
    )
