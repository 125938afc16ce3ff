"""The parts of a training run, built around one model: who trains never names an implementation."""

from __future__ import annotations

from pixelreasoner.chat.chat_format import Wording
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.learn.learner import Learner, LearnerConfig
from pixelreasoner.learn.local import LocalLearner
from pixelreasoner.learn.processes import ONE_PROCESS, Processes
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.loader import load_model
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.objective import Objective
from pixelreasoner.objectives.packing import LayoutOf
from pixelreasoner.policy.group import GroupPolicy


class Factory:
    """Builds learner and policy around one model.

    With one process they share its weights and the features of pictures: what the learner changes, the policy
    samples. With several, the learner's weights are split over them, and each process samples from a copy of
    its own, which `Policy.load_weights` is given after each step. A fixed vision tower is there once.
    """

    def __init__(self, config: ModelConfig, wording: Wording, processes: Processes = ONE_PROCESS) -> None:
        """Load the model, to be spoken to in the words of a recipe where it has some.

        Raises:
            CheckpointError: there is no such checkpoint, or it cannot be used.
            ConfigError: there is no such device.
            MissingExtraError: LoRA without the package peft.
        """
        self._config, self._wording, self._processes = config, wording, processes
        with processes.agreed():
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
        if self._processes.size == 1:
            return LocalLearner(
                self._model,
                objective,
                config,
                features=self._features,
                precision=self._config.precision,
                layout_of=layout_of,
            )
        # Imported for those who split: FSDP takes its time.
        from pixelreasoner.learn.sharded import ShardedLearner

        return ShardedLearner(
            self._model,
            objective,
            config,
            features=self._features,
            processes=self._processes,
            precision=self._config.precision,
            layout_of=layout_of,
        )

    def policy(self, *, batch_size: int) -> GroupPolicy:
        """What samples from the model; at most `batch_size` sequences together."""
        model, features = self._model, self._features
        if self._processes.size > 1:
            model, features = self._copy()
        return GroupPolicy(
            model,
            features=features,
            batch_size=batch_size,
            precision=self._config.precision,
            kv_cache_bytes=self._config.kv_cache_bytes,
        )

    def _copy(self) -> tuple[VisionLanguageModel, FeatureStore]:
        """The model to sample from, and its features."""
        with self._processes.agreed():
            copy = load_model(self._config, training=False)
        copy.use_wording(self._wording)
        if not self._features.remembers:
            return copy, FeatureStore(copy, max_bytes=self._config.feature_bytes)
        copy.hf.model.visual = self._model.vision
        return copy, self._features
