"""The learner of one process: packed rows, one after the other, and AdamW."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelreasoner.core.errors import NonFiniteError
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.metrics import UpdateMetrics
from pixelreasoner.learn.optim import adamw, check_weights, optimizer_step
from pixelreasoner.models.config import Precision
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.logprobs import TokenScores, score_row
from pixelreasoner.models.precision import autocast
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.objective import Objective
from pixelreasoner.objectives.packing import LayoutOf, PackedRow, pack_rows
from pixelreasoner.objectives.scored_group import ScoredGroup


class LocalLearner:
    """A `Learner` over a model held in memory."""

    def __init__(
        self,
        model: VisionLanguageModel,
        objective: Objective,
        config: LearnerConfig,
        *,
        features: FeatureStore,
        precision: Precision = "fp32",
        layout_of: LayoutOf | None = None,
    ) -> None:
        """A learner for the parameters of `model` that take gradients.

        Args:
            model: shared with the policy, if there is one; its current weights are what the policy samples.
            objective: what is minimised.
            config: schedule, row length.
            features: of pictures; shared with the policy, if there is one.
            precision: of the matrix products.
            layout_of: lays out a trajectory; None for the model's renderer, each time anew.
        """
        self.model, self.objective, self.config = model, objective, config
        self.optimizer: torch.optim.Optimizer = adamw(model.parameters(), config.optim)
        self.n_updates = 0
        self._features = features
        self._precision: Precision = precision
        self._layout_of = layout_of or (lambda trajectory: model.renderer.layout(trajectory.segments))

    def update(self, groups: Sequence[ScoredGroup]) -> dict[str, float]:
        """Share the groups out over the optimiser steps of an update; returns the metrics of its loss tokens.

        Raises:
            RecordError: a trajectory has no tokens, or lacks the sampler's log-probabilities.
            NonFiniteError: the loss, the gradient norm or the weights are not finite; the learner is of no
                more use then.
        """
        metrics = UpdateMetrics()
        n_steps = self.config.steps_per_update
        self.model.train()
        for index in range(n_steps):
            self._step(groups[index::n_steps], self.n_updates * n_steps + index, metrics)
        check_weights(p for group in self.optimizer.param_groups for p in group["params"])
        self.n_updates += 1
        return metrics.result()

    def _step(self, groups: Sequence[ScoredGroup], step: int, metrics: UpdateMetrics) -> None:
        """Accumulate the gradient over the rows of some groups, then take one optimiser step."""
        loss, n_tokens = 0.0, 0
        rows = pack_rows(
            groups,
            self._layout_of,
            max_tokens=self.config.max_row_tokens,
            token_weights=self.objective.token_weights,
            behavior=self.objective.sampled_by_policy,
        )
        for row in rows:
            out = self.objective(self._score(row), row)
            out.loss.backward()
            metrics.add_loss(out, row.n_loss_tokens)
            loss += out.loss.item()
            n_tokens += row.n_loss_tokens
        if n_tokens == 0:
            return
        if not math.isfinite(loss):
            raise NonFiniteError(f"the loss is {loss}")
        total = self.config.total_updates * self.config.steps_per_update
        norm = optimizer_step(self.optimizer, step=step, total=total, config=self.config.optim)
        metrics.add_means({"loss": loss, "grad_norm": norm}, n_tokens)

    def _score(self, row: PackedRow) -> TokenScores:
        objective = self.objective
        with autocast(self._precision, self.model.device):
            return score_row(
                self.model,
                row,
                self._features(row.layout.blocks),
                temperature=objective.temperature,
                forbidden_ids=self.model.renderer.forbidden_ids if objective.sampled_by_policy else (),
            )

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """All weights of the model, its own tensors: a policy that shares the model has them already."""
        yield from self.model.hf.state_dict().items()

    def state_dict(self) -> dict[str, Any]:
        return {
            "n_updates": self.n_updates,
            "model": self.model.hf.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.n_updates = state["n_updates"]
        self.model.hf.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])

    def save(self, folder: Path) -> None:
        """Write a complete checkpoint folder."""
        save_checkpoint(self.model, folder)
