"""Teaching a vision tower from nothing: every token says what thing it sees, where, and what it reads.

Without this stage a small vision-language model trained from random weights learns to speak long before
it learns to look (its language loss is low while boxes and letters stay at chance).

Shape legend: M merged visual tokens of the batch, D hidden width, C dot colours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelreasoner.data.pixelworld.dense import COLOUR_NAMES, GLYPHS, IGNORE, NOUNS, DenseLabels
from pixelreasoner.data.pixelworld.things import DOT_COLOURS


class DenseHeads(nn.Module):
    """One linear read-out per question; thrown away after the stage."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.noun = nn.Linear(width, 1 + len(NOUNS))
        self.colour = nn.Linear(width, 1 + len(COLOUR_NAMES))
        self.glyph = nn.Linear(width, 1 + len(GLYPHS))
        self.dots = nn.Linear(width, len(DOT_COLOURS))
        self.box = nn.Linear(width, 4)
        self.at = nn.Linear(width, 2)


def dense_loss(
    heads: DenseHeads, features_MD: Tensor, labels: Sequence[DenseLabels]
) -> tuple[Tensor, dict[str, float]]:
    """The sum of the read-outs' losses, and what to log. The weights balance their starting sizes."""
    x_MD = heads.norm(features_MD.float())
    noun_M, colour_M, glyph_M = (_join(labels, name) for name in ("noun_M", "colour_M", "glyph_M"))
    dots_MC, box_M4 = _join(labels, "dots_MC"), _join(labels, "box_M4")
    glyph_scores = heads.glyph(x_MD).float()
    readable = glyph_M > 0
    loss = F.cross_entropy(heads.noun(x_MD).float(), noun_M)
    colour_scores = heads.colour(x_MD).float()
    loss = loss + F.cross_entropy(colour_scores, colour_M)
    loss = loss + 0.3 * F.cross_entropy(glyph_scores, glyph_M, ignore_index=IGNORE)
    if readable.any():  # glyphs are rare among tokens: give them a term of their own
        loss = loss + F.cross_entropy(glyph_scores[readable], glyph_M[readable])
    known_MC = ~dots_MC.isnan()
    loss = loss + 2 * F.binary_cross_entropy_with_logits(
        heads.dots(x_MD).float()[known_MC], dots_MC[known_MC], pos_weight=torch.tensor(4.0)
    )
    placed_M4 = ~box_M4.isnan()
    box_error = (heads.box(x_MD).float()[placed_M4] - box_M4[placed_M4]).abs().mean()
    loss = loss + 16 * box_error + 4 * (heads.at(x_MD).float() - _join(labels, "at_M2")).abs().mean()
    things = colour_M > 0
    return loss, {
        "loss": loss.item(),
        "colour_accuracy": _accuracy(colour_scores, colour_M, things),
        "glyph_accuracy": _accuracy(glyph_scores, glyph_M, readable),
        "box_error": box_error.item(),
    }


def _accuracy(scores: Tensor, target: Tensor, where: Tensor) -> float:
    hits = (scores.argmax(-1) == target)[where]
    return hits.float().mean().item() if hits.numel() else float("nan")


def _join(labels: Sequence[DenseLabels], name: str) -> Tensor:
    return torch.from_numpy(np.concatenate([vars(label)[name] for label in labels]))
