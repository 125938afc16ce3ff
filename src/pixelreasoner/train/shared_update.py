"""Scores of samples whose groups share their prompt: `train.batches`, with nothing computed twice.

The same values for the same samples; only what is put into memory together differs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.logprobs import TokenScores
from pixelreasoner.models.packing import CompletionSegment, pack, packed_batches
from pixelreasoner.models.shared_scores import score_packed
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.samples import TrainSample
from pixelreasoner.train.batches import Scoring


def shared_micro_batches(
    samples: Sequence[TrainSample], layouts: Sequence[Layout], max_tokens: int
) -> Iterator[list[int]]:
    """Indices of samples that together fit `max_tokens`, each prompt counted once; groups stay together."""
    return packed_batches(_branches(samples, layouts), max_tokens)


def score_shared(
    model: VisionLanguageModel,
    features: FeatureStore,
    samples: Sequence[TrainSample],
    layouts: Sequence[Layout],
    *,
    temperature: float = 1.0,
    forbidden_ids: Collection[int] = (),
) -> TokenScores:
    """A `Scorer` by one packed row for all samples."""
    row = pack(_branches(samples, layouts))
    found = features(row.layout.blocks)
    return score_packed(model, row, found, temperature=temperature, forbidden_ids=forbidden_ids)


PACKED = Scoring(shared_micro_batches, score_shared)
"""One row per group or several: the same scores, with every prompt and every picture computed once."""


def _branches(samples: Sequence[TrainSample], layouts: Sequence[Layout]) -> list[CompletionSegment]:
    return [
        CompletionSegment.of(layout, sample.mask, len(sample.segments[0].ids))
        for sample, layout in zip(samples, layouts, strict=True)
    ]
