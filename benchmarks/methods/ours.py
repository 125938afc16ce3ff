"""This package's two ways: rows that share their prompt, and one padded row per attempt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.methods.base import Settings, gradients_of, group_loss, padded_tokens, parts
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.packing import CompletionSegment, pack
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.samples import TrainSample
from pixelreasoner.train.batches import score_samples
from pixelreasoner.train.shared_update import score_shared, shared_micro_batches


class Shared:
    """`train.shared_update`: the prompt once, each picture once."""

    def __init__(
        self,
        model: VisionLanguageModel,
        samples: Sequence[TrainSample],
        settings: Settings,
        *,
        row_tokens: int = 2**62,
    ) -> None:
        """A group goes into rows of at most `row_tokens`, each with the prompt."""
        self._model, self._samples, self._settings, self._limit = model, samples, settings, row_tokens
        layouts = [model.renderer.layout(s.segments) for s in samples]
        branches = [
            CompletionSegment.of(layout, sample.mask, len(sample.segments[0].ids))
            for layout, sample in zip(layouts, samples, strict=True)
        ]
        rows = shared_micro_batches(samples, layouts, row_tokens)
        self.tokens = sum(len(pack([branches[i] for i in row])) for row in rows)

    def run(self) -> Tensor:
        model, samples = self._model, self._samples
        prepare(model, self._settings)
        # A new store each time: with a frozen tower, features would be remembered from the last run.
        features = FeatureStore(model)
        layouts = [model.renderer.layout(s.segments) for s in samples]
        n_loss = sum(s.n_loss_tokens for s in samples)
        found: dict[int, Tensor] = {}
        for part in shared_micro_batches(samples, layouts, self._limit):
            chosen = [samples[i] for i in part]
            scores = score_shared(model, features, chosen, [layouts[i] for i in part])
            group_loss(scores, chosen, n_loss).backward()
            counts = [s.n_loss_tokens for s in chosen]
            found.update(zip(part, scores.logp_N.detach().split(counts), strict=True))
        return torch.cat([found[i] for i in range(len(samples))])

    def gradients(self) -> dict[str, Tensor]:
        return gradients_of(self._model.hf)


class Padded:
    """`train.batches`: padded rows; a picture passes the tower once per micro-batch."""

    def __init__(
        self, model: VisionLanguageModel, samples: Sequence[TrainSample], settings: Settings
    ) -> None:
        self._model, self._samples, self._settings = model, samples, settings
        layouts = [model.renderer.layout(s.segments) for s in samples]
        self.tokens = padded_tokens(layouts, settings.rows)

    def run(self) -> Tensor:
        model, samples = self._model, self._samples
        prepare(model, self._settings)
        layouts = [model.renderer.layout(s.segments) for s in samples]
        n_loss = sum(s.n_loss_tokens for s in samples)
        found = []
        for part in parts(len(samples), self._settings.rows):
            chosen = [samples[i] for i in part]
            features = FeatureStore(model)
            scores = score_samples(model, features, chosen, [layouts[i] for i in part])
            group_loss(scores, chosen, n_loss).backward()
            found.append(scores.logp_N.detach())
        return torch.cat(found)

    def gradients(self) -> dict[str, Tensor]:
        return gradients_of(self._model.hf)


def prepare(model: VisionLanguageModel, settings: Settings) -> None:
    """Training mode without old gradients, with or without recomputation."""
    model.train()
    model.zero_grad(set_to_none=True)
    model.vision.requires_grad_(not settings.frozen)
    if settings.recompute != model.hf.is_gradient_checkpointing:
        if settings.recompute:
            model.hf.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            model.hf.gradient_checkpointing_disable()
