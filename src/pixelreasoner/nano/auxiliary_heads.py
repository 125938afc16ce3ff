"""Auxiliary heads: they train a vision tower from random weights to predict a label for every visual token.

Without this stage, a small vision-language model trained from random weights reaches a low language loss
while its boxes and letters stay at chance.

The heads score tokens against text embeddings: a token over a red card is trained to align with the embedding
of "red". When the decoder's training starts, the words of a question and the visual tokens already share one
space. Attention can match them without learning eight correspondences first.

Shape legend: M merged visual tokens of the batch, D hidden width, K classes, C dot colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelreasoner.nano.question_answers import COORDINATE_STEP
from pixelreasoner.nano.token_labels import COLOUR_NAMES, GLYPHS, IGNORE, NOUNS, TALLIES, TokenLabels
from pixelreasoner.tasks.pixelworld.things import DOT_COLOURS, LETTERS, SIDES

COORDINATES = tuple(range(0, 1001, COORDINATE_STEP))
"""The coordinates that boxes are written with: relative, 0 to 1000, in steps."""


class WordReadOut(nn.Module):
    """Scores tokens against the text embeddings of some words, and against "none"."""

    def __init__(self, words_KD: Tensor, *, aligned: bool) -> None:
        """With `aligned`, compare features with words directly; otherwise apply a linear map first."""
        super().__init__()
        width = words_KD.shape[1]
        self.register_buffer("words_KD", words_KD)
        self.map = nn.Identity() if aligned else nn.Linear(width, width)
        self.none = nn.Linear(width, 1)
        self.scale = nn.Parameter(torch.tensor(0.1))

    def forward(self, x_MD: Tensor) -> Tensor:
        """Return the scores [M, 1 + K]; class 0 is none."""
        scores_MK = self.scale * self.map(x_MD) @ self.words_KD.T
        return torch.cat([self.none(x_MD), scores_MK], -1).float()


class AuxiliaryHeads(nn.Module):
    """One head per kind of label; discarded after pre-training."""

    def __init__(self, embeddings: nn.Embedding, tokenizer: Any) -> None:
        super().__init__()
        width = embeddings.embedding_dim

        def words(texts: Sequence[str]) -> Tensor:
            return torch.stack([_word(text, embeddings, tokenizer) for text in texts])

        self.noun = nn.Linear(width, 1 + len(NOUNS))
        self.colour = WordReadOut(words(COLOUR_NAMES), aligned=True)
        self.glyph = WordReadOut(words(GLYPHS), aligned=False)
        self.dots = WordReadOut(words(DOT_COLOURS), aligned=False)
        self.n_dots = nn.Linear(width, len(DOT_COLOURS))
        self.tally = WordReadOut(words(TALLIES), aligned=False)
        self.side = WordReadOut(words(SIDES), aligned=False)
        numbers = words([str(c) for c in COORDINATES])
        self.box = nn.ModuleList([WordReadOut(numbers, aligned=False) for _ in range(4)])
        self.at = nn.Linear(width, 2)


@torch.no_grad()
def _word(text: str, embeddings: nn.Embedding, tokenizer: Any) -> Tensor:
    """Return the mean embedding of a word with and without a space before it: " red" and "red"."""
    ids = [tokenizer(form, add_special_tokens=False)["input_ids"] for form in (f" {text}", text)]
    whole = [i[0] for i in ids if len(i) == 1]
    assert whole, f"'{text}' is not one token"
    return embeddings.weight[whole].mean(0).clone()


def auxiliary_loss(
    heads: AuxiliaryHeads, features_MD: Tensor, labels: Sequence[TokenLabels]
) -> tuple[Tensor, dict[str, float]]:
    """Return the sum of the heads' losses, and metrics. The weights balance the losses at initialization."""
    x_MD = F.layer_norm(features_MD.float(), features_MD.shape[-1:])
    noun_M, glyph_M, colour_MK = (_join(labels, name) for name in ("noun_M", "glyph_M", "colour_MK"))
    dots_MC, box_M4 = _join(labels, "dots_MC"), _join(labels, "box_M4")
    things, readable = noun_M > 0, glyph_M > 0
    colour_scores, glyph_scores = heads.colour(x_MD), heads.glyph(x_MD)
    loss = F.cross_entropy(heads.noun(x_MD).float(), noun_M)
    # Few tokens show things, and fewer show glyphs or dots: each has a loss term of its own.
    loss = loss + F.cross_entropy(colour_scores, colour_MK) + _among(colour_scores, colour_MK, things)
    loss = loss + 0.3 * F.cross_entropy(glyph_scores, glyph_M, ignore_index=IGNORE)
    loss = loss + _among(glyph_scores, glyph_M, readable)
    known_MC = ~dots_MC.isnan()
    if known_MC.any():
        loss = loss + F.binary_cross_entropy_with_logits(
            heads.dots(x_MD)[:, 1:][known_MC], (dots_MC[known_MC] > 0).float(), pos_weight=torch.tensor(3.0)
        )
        loss = loss + 2 * F.mse_loss(heads.n_dots(x_MD).float()[known_MC], dots_MC[known_MC])
    accuracies = {}
    for name, read_out in (("tally", heads.tally), ("side", heads.side)):
        target_M = _join(labels, f"{name}_M")
        scores = read_out(x_MD)[:, 1:]
        loss = loss + _among(scores, target_M, target_M != IGNORE)
        accuracies[f"{name}_accuracy"] = _accuracy(scores, target_M, target_M != IGNORE)
    box_error = torch.zeros(())
    for side, read_out in enumerate(heads.box):
        target_M = (box_M4[things, side].clamp(0, 1) * (len(COORDINATES) - 1)).round().long() + 1
        scores = read_out(x_MD[things])
        loss = loss + 0.5 * F.cross_entropy(scores, target_M) if len(target_M) else loss
        box_error = box_error + (scores.argmax(-1) - target_M).abs().float().mean() / 4
    loss = loss + 4 * (heads.at(x_MD).float() - _join(labels, "at_M2")).abs().mean()
    return loss, {
        "loss": loss.item(),
        "colour_accuracy": _mean(colour_MK[things].gather(1, colour_scores[things].argmax(-1)[:, None]) > 0),
        "glyph_accuracy": _accuracy(glyph_scores, glyph_M, readable),
        "digit_accuracy": _accuracy(glyph_scores, glyph_M, glyph_M > len(LETTERS)),
        **accuracies,
        "box_error": box_error.item() * COORDINATE_STEP / 1000,
    }


def _among(scores_MK: Tensor, target: Tensor, where_M: Tensor) -> Tensor:
    """Return the cross-entropy over some tokens, against classes or class probabilities; 0 over none."""
    return F.cross_entropy(scores_MK[where_M], target[where_M]) if where_M.any() else scores_MK.sum() * 0.0


def _accuracy(scores: Tensor, target: Tensor, where: Tensor) -> float:
    return _mean((scores.argmax(-1) == target)[where])


def _mean(hits: Tensor) -> float:
    return hits.float().mean().item() if hits.numel() else float("nan")


def _join(labels: Sequence[TokenLabels], name: str) -> Tensor:
    return torch.from_numpy(np.concatenate([vars(label)[name] for label in labels]))
