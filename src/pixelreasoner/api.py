"""The Python interface: load a model, ask it about a picture or a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.media_io import load_media
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.events import OnEvent
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.group import GroupPolicy

Source = str | Path | Media
"""A file (image, video, or folder of frames), or media already in memory."""


def load(checkpoint: str | Path = "nano") -> Reasoner:
    """Load a checkpoint: the name of a shipped one, or a Hugging Face folder.

    Raises:
        CheckpointError: there is none, or its architecture is not supported.
    """
    return Reasoner(VisionLanguageModel.load(checkpoint_folder(checkpoint)))


class Reasoner:
    """A model that answers questions, looking closer where it decides to."""

    def __init__(self, model: VisionLanguageModel) -> None:
        self.model = model
        self.policy = GroupPolicy(model)

    def ask(
        self,
        media: Source | Sequence[Source],
        question: str,
        *,
        max_operations: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        on_event: OnEvent | None = None,
    ) -> Trajectory:
        """Answer one question about images or a video.

        Args:
            media: files or media, in the order the question speaks of them.
            question: in plain words; the chat format's guideline is added.
            max_operations: the most visual operations to carry out; 0 offers none.
            temperature: 0 takes the likeliest token each time.
            seed: of the draws when the temperature is above 0.
            on_event: called with what happens as it happens (`env.events`).

        Raises:
            MediaError: a file cannot be used, or there is more than one video.
        """
        sources = [media] if isinstance(media, str | Path | Picture | Video) else list(media)
        items = tuple(s if isinstance(s, Picture | Video) else load_media(Path(s)) for s in sources)
        limits = Limits() if max_operations is None else Limits(max_operations=max_operations)
        renderer = self.model.renderer
        [trajectory] = rollout(
            [RolloutRequest(Task("question", question, items, ()), seed)],
            policy=self.policy,
            renderer=self.model.renderer,
            toolbox=None
            if max_operations == 0
            else Interaction().toolbox(renderer.vision.unit, renderer.chat_format),
            sampling=Sampling(temperature=temperature),
            limits=limits,
            on_event=on_event,
        )
        return trajectory
