"""The learner of one process: packed rows, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.optimizers import new_optimizer
from pixelreasoner.learn.packed import PackedLearner
from pixelreasoner.learn.processes import Processes
from pixelreasoner.learn.scoring import Scoring
from pixelreasoner.models.config import Precision
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.objective import Objective
from pixelreasoner.objectives.packing import LayoutOf, PackedRow, pack_rows
from pixelreasoner.objectives.scored_group import ScoredGroup


class LocalLearner(PackedLearner):
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

        Raises:
            ConfigError: the optimiser is not there, or does not work with the model's weights.
        """
        super().__init__(
            Scoring(model, features, objective, precision=precision), objective, config, Processes()
        )
        self.optimizer = new_optimizer(model.parameters(), config.optim)
        self._layout_of = layout_of or (lambda trajectory: model.renderer.layout(trajectory.segments))

    def rows(self, groups: Sequence[ScoredGroup]) -> Iterator[PackedRow]:
        """All rows of an optimiser step."""
        return pack_rows(
            groups,
            self._layout_of,
            max_tokens=self.config.max_row_tokens,
            token_weights=self.objective.token_weights,
            behavior=self.objective.sampled_by_policy,
        )

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a row's share of the loss."""
        loss.backward()

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """All weights of the model, its own tensors: a policy that shares the model has them already."""
        yield from self.model.hf.state_dict().items()

    def state_dict(self) -> dict[str, Any]:
        return {
            "n_updates": self.n_updates,
            "n_skipped": self.n_skipped,
            "model": self.model.hf.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **self.rng_states(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.n_updates, self.n_skipped = state["n_updates"], state.get("n_skipped", 0)
        self.model.hf.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.restore_rng(state)

    def save(self, folder: Path) -> None:
        """Write a complete checkpoint folder."""
        save_checkpoint(self.model, folder)
