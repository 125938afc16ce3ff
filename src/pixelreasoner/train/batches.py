"""From samples to scores: rows laid out once, micro-batches of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.logprobs import TokenScores, score_tokens
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.samples import TrainSample


class Scorer(Protocol):
    """Scores of all loss tokens of the samples, one sample after the other."""

    def __call__(
        self,
        model: VisionLanguageModel,
        features: FeatureStore,
        samples: Sequence[TrainSample],
        layouts: Sequence[Layout],
        *,
        temperature: float = 1.0,
        forbidden_ids: Collection[int] = (),
    ) -> TokenScores: ...


@dataclass(frozen=True)
class Scoring:
    """A way of putting samples into memory."""

    split: Callable[[Sequence[TrainSample], Sequence[Layout], int], Iterator[list[int]]]
    """Indices of samples that together take at most so many tokens."""
    score: Scorer
    """Of the samples of one such part."""


def micro_batches(layouts: Sequence[Layout], max_tokens: int) -> Iterator[list[int]]:
    """Indices of rows that together fit `max_tokens`, padding included; rows of similar length together."""
    part: list[int] = []
    for index in np.argsort([len(row) for row in layouts], kind="stable").tolist():
        # Ascending order: the newest row is the longest, and sets the width.
        if part and len(layouts[index]) * (len(part) + 1) > max_tokens:
            yield part
            part = []
        part.append(index)
    if part:
        yield part


def score_samples(
    model: VisionLanguageModel,
    features: FeatureStore,
    samples: Sequence[TrainSample],
    layouts: Sequence[Layout],
    *,
    temperature: float = 1.0,
    forbidden_ids: Collection[int] = (),
) -> TokenScores:
    """A `Scorer` by one padded row per sample (see `score_tokens`)."""
    found = features(block for row in layouts for block in row.blocks)
    rows = [(layout, sample.mask) for layout, sample in zip(layouts, samples, strict=True)]
    return score_tokens(model, rows, found, temperature=temperature, forbidden_ids=forbidden_ids)


PADDED = Scoring(lambda samples, layouts, max_tokens: micro_batches(layouts, max_tokens), score_samples)
"""One row per sample: the reference."""


def repeat_per_token(
    samples: Sequence[TrainSample], per_sample: Sequence[float], device: torch.device
) -> Tensor:
    """One value per sample, repeated for each of its loss tokens: [N]."""
    counts = [s.n_loss_tokens for s in samples]
    return torch.from_numpy(np.repeat(np.asarray(per_sample, dtype=np.float32), counts)).to(device)


def behavior_logprobs(samples: Sequence[TrainSample], device: torch.device) -> Tensor:
    """The sampler's log-probabilities of all loss tokens: [N]."""
    return torch.from_numpy(np.concatenate([s.behavior_logp[s.mask] for s in samples])).to(device)
