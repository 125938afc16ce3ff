"""The Python interface: load a model, ask it about a picture or a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.media_io import load_media
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.events import OnEvent
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.rollout import RolloutRequest, rollout, unasked
from pixelreasoner.models.config import Dtype, ModelConfig
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.loader import load_model
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.group import GroupPolicy

Source = str | Path | Media
"""A file (image, video, or folder of frames), or media already in memory."""
GREEDY = Interaction(sampling=Sampling(temperature=0.0))


class AskConfig(Config):
    """Which model answers, and how it is interacted with."""

    model: ModelConfig = ModelConfig()
    interaction: Interaction = GREEDY


def load(
    checkpoint: str | Path = "nano",
    *,
    device: str = "auto",
    dtype: Dtype = "auto",
    interaction: Interaction = GREEDY,
) -> Reasoner:
    """Load a checkpoint: the name of a shipped one, a Hugging Face folder, or a hub id.

    Args:
        checkpoint: which one.
        device: a torch device; "auto" takes CUDA where there is one.
        dtype: of the weights; "auto" is fp32 on a CPU and bf16 on an accelerator.
        interaction: the operations offered, limits, sampling and wording.

    Raises:
        CheckpointError: there is none, or its architecture is not supported.
        ConfigError: there is no such device, an operation cannot be used, or an option is out of range.
    """
    model = ModelConfig(checkpoint=str(checkpoint), device=device, dtype=dtype)
    return load_config(AskConfig(model=model, interaction=interaction))


def load_config(config: AskConfig) -> Reasoner:
    """What a recipe describes; raises as `load` does."""
    model = load_model(config.model, training=False)
    config.interaction.check_lengths(model.renderer.max_tokens)
    model.use_wording(config.interaction.wording)
    features = FeatureStore(model, max_bytes=config.model.feature_bytes)
    policy = GroupPolicy(
        model,
        features=features,
        precision=config.model.precision,
        kv_cache_bytes=config.model.kv_cache_bytes,
    )
    return Reasoner(model, config.interaction, policy)


class Reasoner:
    """A model that answers questions, looking closer where it decides to."""

    def __init__(
        self,
        model: VisionLanguageModel,
        interaction: Interaction = GREEDY,
        policy: GroupPolicy | None = None,
    ) -> None:
        """A reasoner; `policy` samples from `model`, None takes one with its defaults."""
        self.model, self.interaction = model, interaction
        self.policy = policy or GroupPolicy(model)
        self._toolbox = interaction.toolbox(model.renderer.vision.unit, model.renderer.chat_format)

    def ask(
        self,
        media: Source | Sequence[Source],
        question: str,
        *,
        max_operations: int | None = None,
        temperature: float | None = None,
        seed: int = 0,
        on_event: OnEvent | None = None,
    ) -> Trajectory:
        """Answer one question about images or a video.

        Args:
            media: files or media, in the order the question speaks of them.
            question: in plain words; the chat format's guideline is added.
            max_operations: the most visual operations to carry out; 0 offers none.
            temperature: 0 takes the likeliest token each time; None takes the interaction's.
            seed: of the random numbers when the temperature is above 0.
            on_event: called with what happens as it happens (`env.events`).

        Raises:
            MediaError: a file cannot be used, or there is more than one video.
            ConfigError: `max_operations` or `temperature` is out of range.
            PixelReasonerError: the question, with its pictures, is longer than what the model can read.
        """
        sources = [media] if isinstance(media, str | Path | Picture | Video) else list(media)
        items = tuple(s if isinstance(s, Picture | Video) else load_media(Path(s)) for s in sources)
        sampling, limits = self.interaction.sampling, self.interaction.limits
        if temperature is not None:
            sampling = sampling.changed(temperature=temperature)
        if max_operations is not None:
            limits = limits.changed(max_operations=max_operations)
        [trajectory] = rollout(
            [RolloutRequest(Task("question", question, items, ()), seed)],
            policy=self.policy,
            renderer=self.model.renderer,
            toolbox=self._toolbox if limits.max_operations else None,
            sampling=sampling,
            limits=limits,
            on_event=on_event,
        )
        if (problem := unasked(trajectory, self.model.renderer, limits)) is not None:
            raise PixelReasonerError(problem)
        return trajectory
