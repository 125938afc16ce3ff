"""Log-probabilities with one padded row per conversation; `models.logprobs.score_row` packs rows instead.

Pre-training uses it because attention supervision works row by row and its conversations share no prompt.
Tests and benchmarks use it as the reference of packed rows.

Shape legend: B rows, T tokens of the longest, N loss tokens of the batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.logprobs import TokenScores, score_hidden
from pixelreasoner.models.vlm import Features, VisionLanguageModel

MaskedLayout = tuple[Layout, npt.NDArray[np.bool_]]
"""A layout, and a mask over its RECORDED tokens (one entry per placeholder, not expanded)."""


def micro_batches(layouts: Sequence[Layout], max_tokens: int) -> Iterator[list[int]]:
    """Yield indices of rows that fit `max_tokens` together, padding included; similar lengths together."""
    part: list[int] = []
    for index in np.argsort([len(row) for row in layouts], kind="stable").tolist():
        # Ascending order: the newest row is the longest, and sets the width.
        if part and len(layouts[index]) * (len(part) + 1) > max_tokens:
            yield part
            part = []
        part.append(index)
    if part:
        yield part


def score_padded(
    model: VisionLanguageModel,
    rows: Sequence[MaskedLayout],
    features: dict[str, Features],
    *,
    temperature: float = 1.0,
    forbidden_ids: Collection[int] = (),
) -> TokenScores:
    """Return log p(token | prefix) of the tokens marked in each row, rows one after another.

    `temperature` and `forbidden_ids` as in `models.logprobs.score_row`.
    """
    batch = model.embed([layout for layout, _ in rows], features, left=False)
    hidden_BTD = model(batch)
    at_N, target_N = (torch.from_numpy(x).to(hidden_BTD.device) for x in _targets(rows, hidden_BTD.shape[1]))
    return score_hidden(
        model, hidden_BTD.flatten(0, 1)[at_N], target_N, temperature=temperature, forbidden_ids=forbidden_ids
    )


def _targets(rows: Sequence[MaskedLayout], width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the flattened position that predicts each loss token, and the token id: [N] both."""
    where, targets = [], []
    for b, (layout, mask) in enumerate(rows):
        at = np.flatnonzero(mask[layout.owner_T])
        assert len(at) == 0 or at[0] > 0, "the first token of a conversation has nothing to be predicted from"
        where.append(b * width + at - 1)
        targets.append(layout.ids_T[at])
    return np.concatenate(where), np.concatenate(targets)
