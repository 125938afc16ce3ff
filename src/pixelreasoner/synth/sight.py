"""How the model to be taught sees and points: what synthesis must know of a checkpoint, short of weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.pixels import fit
from pixelreasoner.core.errors import CheckpointError, MediaError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.ops.image_context import DisplayedImage, ImageContext
from pixelreasoner.ops.toolbox import Toolbox, standard_toolbox
from pixelreasoner.synth.regions import Lattice


@dataclass(frozen=True)
class Sight:
    """A model's pixel budgets, wording and coordinates."""

    chat_format: ChatFormat
    unit: Unit = Unit.RELATIVE
    """What the numbers of a box mean."""
    step: float = 20
    """Coordinates are multiples of it, in `unit`."""
    factor: int = 32
    """Side of one language-model token in pixels; only pixel coordinates depend on it."""

    def toolbox(self) -> Toolbox:
        """The paper's operations, answering in the chat format's words."""
        d = self.chat_format
        return standard_toolbox(
            unit=self.unit, crop_reply=d.crop_reply, frames_reply=d.frames_reply, error_reply=d.error_reply
        )

    def displayed(self, picture: Picture, *, crop: bool) -> DisplayedImage:
        """A picture of the question, or one that an operation returned, as the model sees it."""
        budget = self.chat_format.crop if crop else self.chat_format.image
        return DisplayedImage(picture, fit(picture.size, budget, factor=self.factor))

    def context(self, task: Task) -> ImageContext:
        """What the prompt shows, numbered as a rollout numbers it.

        Raises:
            MediaError: the task holds more than one video.
        """
        videos = [item for item in task.media if isinstance(item, Video)]
        if len(videos) > 1:
            raise MediaError(f"task {task.id!r} has {len(videos)} videos; split it into one task per video")
        pictures = (item for item in task.media if isinstance(item, Picture))
        images = tuple(self.displayed(picture, crop=False) for picture in pictures)
        return ImageContext(images=images, video=videos[0] if videos else None)

    def lattice(self, shown: DisplayedImage) -> Lattice:
        """The boxes that can be said about an image."""
        return Lattice(shown.picture.size, shown.view, self.unit, self.step)


def sight_of(folder: Path, *, unit: Unit, step: float) -> Sight:
    """The sight of the checkpoint in `folder`, read from its chat_format.json and config.json.

    `unit` is the convention of the model's family; a chat_format that names its own takes precedence.

    Raises:
        CheckpointError: one of the files is missing or says nothing about patches.
    """
    path = folder / "config.json"
    try:
        vision = json.loads(path.read_text(encoding="utf-8"))["vision_config"]
        factor = int(vision["patch_size"]) * int(vision["spatial_merge_size"])
    except OSError as e:
        raise CheckpointError(f"{folder} is not a checkpoint folder: {path.name} cannot be read") from e
    except (ValueError, KeyError, TypeError) as e:
        raise CheckpointError(
            f"{path} names no patch_size and spatial_merge_size in vision_config; is it of Qwen-VL?"
        ) from e
    chat_format = ChatFormat.load(folder)
    return Sight(chat_format, unit=chat_format.unit or unit, step=step, factor=factor)
