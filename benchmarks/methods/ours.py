"""This package's method, rows that share their prompt; and its reference, a padded row per trajectory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.methods.base import (
    OBJECTIVE,
    Settings,
    gradients_of,
    group_loss,
    layouts_of,
    loss_tokens,
    padded_tokens,
    part_of,
    parts,
)
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.logprobs import score_row
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.nano.padded import score_padded
from pixelreasoner.objectives.loss_mask import loss_mask
from pixelreasoner.objectives.packing import PackedRow, pack_rows
from pixelreasoner.objectives.scored_group import ScoredGroup


class Shared:
    """Packed rows: the prompt once, each picture once."""

    def __init__(
        self, model: VisionLanguageModel, group: ScoredGroup, settings: Settings, *, row_tokens: int = 2**62
    ) -> None:
        """A group goes into rows of at most `row_tokens`, each with the prompt."""
        self._model, self._group, self._settings, self._limit = model, group, settings, row_tokens
        self.tokens = sum(map(len, self._rows()))

    def run(self) -> Tensor:
        model = self._model
        prepare(model, self._settings)
        # A new store each time: with a frozen tower, features would be cached from the last run.
        features = FeatureStore(model)
        found = []
        for row in self._rows():
            scores = score_row(model, row, features(row.layout.blocks))
            OBJECTIVE(scores, row).loss.backward()
            found.append(scores.logp_N.detach())
        return torch.cat(found)

    def gradients(self) -> dict[str, Tensor]:
        return gradients_of(self._model.hf)

    def _rows(self) -> Iterator[PackedRow]:
        """Yield the rows of the group; loss tokens come in the order of its trajectories."""
        assert all(self._group.advantages), "trajectories without advantage are left out"
        return pack_rows(
            [self._group],
            lambda trajectory: self._model.renderer.layout(trajectory.segments),
            max_tokens=self._limit,
            token_weights=OBJECTIVE.token_weights,
            behavior=True,
        )


class Padded:
    """`nano.padded`: padded rows; a picture passes the tower once per micro-batch."""

    def __init__(self, model: VisionLanguageModel, group: ScoredGroup, settings: Settings) -> None:
        self._model, self._group, self._settings = model, group, settings
        self.tokens = padded_tokens(layouts_of(group, model.renderer), settings.rows)

    def run(self) -> Tensor:
        model, group = self._model, self._group
        prepare(model, self._settings)
        n_loss = sum(loss_tokens(group))
        found = []
        for indices in parts(len(group.trajectories), self._settings.rows):
            part = part_of(group, indices)
            layouts = layouts_of(part, model.renderer)
            features = FeatureStore(model)
            rows = [(layout, loss_mask(y)) for layout, y in zip(layouts, part.trajectories, strict=True)]
            scores = score_padded(model, rows, features(block for row in layouts for block in row.blocks))
            group_loss(scores, part, n_loss).backward()
            found.append(scores.logp_N.detach())
        return torch.cat(found)

    def gradients(self) -> dict[str, Tensor]:
        return gradients_of(self._model.hf)


def prepare(model: VisionLanguageModel, settings: Settings) -> None:
    """Set training mode, clear gradients, and set recomputation."""
    model.train()
    model.zero_grad(set_to_none=True)
    model.vision.requires_grad_(not settings.frozen)
    if settings.recompute != model.hf.is_gradient_checkpointing:
        if settings.recompute:
            model.hf.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            model.hf.gradient_checkpointing_disable()
