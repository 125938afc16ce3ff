"""The parts of a training run, built around one model: who trains never names an implementation."""

from __future__ import annotations

from pixelreasoner.chat.chat_format import Wording
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.learn.learner import Learner, LearnerConfig
from pixelreasoner.learn.local import LocalLearner
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.loader import load_model
from pixelreasoner.objectives.objective import Objective
from pixelreasoner.objectives.packing import LayoutOf
from pixelreasoner.policy.group import GroupPolicy


class Factory:
    """Builds learner and policy around one model in this process.

    They share its weights and the features of pictures: what the learner changes, the policy samples.
    """

    def __init__(self, config: ModelConfig, wording: Wording) -> None:
        """Load the model, to be spoken to in the words of a recipe where it has some.

        Raises:
            CheckpointError: there is no such checkpoint, or it cannot be used.
            ConfigError: there is no such device.
            MissingExtraError: LoRA without the package peft.
        """
        self._config = config
        self._model = load_model(config, training=True)
        self._model.use_wording(wording)
        self._features = FeatureStore(self._model, max_bytes=config.feature_bytes)

    @property
    def renderer(self) -> QwenVLRenderer:
        return self._model.renderer

    def learner(
        self, objective: Objective, config: LearnerConfig, *, layout_of: LayoutOf | None = None
    ) -> Learner:
        """What trains the model's parameters; `layout_of` as in `LocalLearner`."""
        return LocalLearner(
            self._model,
            objective,
            config,
            features=self._features,
            precision=self._config.precision,
            layout_of=layout_of,
        )

    def policy(self, *, batch_size: int) -> GroupPolicy:
        """What samples from the model; at most `batch_size` sequences together."""
        return GroupPolicy(
            self._model,
            features=self._features,
            batch_size=batch_size,
            precision=self._config.precision,
            kv_cache_bytes=self._config.kv_cache_bytes,
        )
