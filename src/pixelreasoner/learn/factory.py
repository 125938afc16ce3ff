"""The parts of a training run, built around one model: who trains never names an implementation."""

from __future__ import annotations

from dataclasses import dataclass

from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.learn.learner import Learner, LearnerConfig
from pixelreasoner.learn.local import LocalLearner
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.precision import Precision
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.objective import Objective
from pixelreasoner.objectives.packing import LayoutOf
from pixelreasoner.policy.group import GroupPolicy


@dataclass(frozen=True)
class ModelChoice:
    """Which model is trained, and which of its parts are not."""

    checkpoint: str
    """A folder, or a shipped checkpoint's name."""
    freeze_vision: bool = False
    freeze_embeddings: bool = False


class Factory:
    """Builds learner and policy around one model in this process.

    They share its weights and the features of pictures: what the learner changes, the policy samples.
    """

    def __init__(self, choice: ModelChoice) -> None:
        """Load the model.

        Raises:
            CheckpointError: there is no such checkpoint, or it cannot be used.
        """
        self._model = VisionLanguageModel.load(checkpoint_folder(choice.checkpoint))
        self._features = FeatureStore(self._model, frozen=choice.freeze_vision)
        if choice.freeze_embeddings:
            self._model.freeze_embeddings()

    @property
    def renderer(self) -> QwenVLRenderer:
        return self._model.renderer

    def learner(
        self, objective: Objective, config: LearnerConfig, *, layout_of: LayoutOf | None = None
    ) -> Learner:
        """What trains the model's parameters; `layout_of` as in `LocalLearner`."""
        return LocalLearner(self._model, objective, config, features=self._features, layout_of=layout_of)

    def policy(self, *, batch_size: int, precision: Precision) -> GroupPolicy:
        """What samples from the model; at most `batch_size` sequences together."""
        return GroupPolicy(self._model, features=self._features, batch_size=batch_size, precision=precision)
