"""What the model can see at one moment of a rollout: the targets of its operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Picture, Video


@dataclass(frozen=True)
class DisplayedImage:
    """A picture the model was shown, and at what size."""

    picture: Picture
    """The original pixels; operations read these."""
    view: Size
    """The size after the pixel budget: what pixel coordinates of a model refer to."""


@dataclass(frozen=True)
class ImageContext:
    """The numbered images of a conversation, in order of appearance, and its video if it has one."""

    images: tuple[DisplayedImage, ...] = ()
    """`target_image` 1 is the first of these; crops and selected frames are appended."""
    video: Video | None = None
    """The frames `select_frames` chooses from; frame 1 is the first."""
    shown_size: Callable[[Picture], Size] = field(default=lambda picture: picture.size, compare=False)
    """The size at which a picture that an operation returns will be shown."""

    def add(self, *shown: DisplayedImage) -> ImageContext:
        """The context after more images were shown."""
        return replace(self, images=self.images + shown)
