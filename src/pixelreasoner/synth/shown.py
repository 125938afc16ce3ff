"""How pictures go to a server: at the sizes it needs, with their numbers before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import Field

from pixelreasoner.chat.chat_format import PixelBudget
from pixelreasoner.chat.pixels import fit
from pixelreasoner.core.config import Config
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.endpoint.requests import ChatMessage, picture_part, text_part

LEAST_CROP_PIXELS = 256 * 256
"""A crop with fewer is enlarged: models overlook what is only a few pixels high."""
Pixels = Annotated[int, Field(ge=1024, le=2**26)]


class SentPictures(Config):
    """The most pixels with which a server is shown pictures: what a call costs, and what it can see."""

    image: Pixels = 1_500_000
    """Of a whole picture."""
    crop: Pixels = 600_000
    """Of a crop, or of a selected frame."""
    frame: Pixels = 100_000
    """Of each frame of a video."""

    def crop_part(self, picture: Picture) -> ChatMessage:
        """A crop, as a part of a message; a small one is enlarged."""
        budget = PixelBudget(min_pixels=min(LEAST_CROP_PIXELS, self.crop), max_pixels=self.crop)
        return picture_part(picture, fit(picture.size, budget, factor=1))

    def whole_parts(self, media: Sequence[Media], marker: Callable[[int, float], str]) -> list[ChatMessage]:
        """The media of a task, as parts of a message.

        Args:
            media: pictures and videos.
            marker: the words before a frame, from its number and its time in seconds.
        """
        return media_parts(
            media, lambda p: _at_most(p.size, self.image), lambda v: _at_most(v.size, self.frame), marker
        )


def frame_marker(template: str) -> Callable[[int, float], str]:
    """The words before a frame of a video, from its number and its time in seconds."""
    return lambda number, seconds: template.format(number=number, seconds=seconds)


def media_parts(
    media: Sequence[Media],
    image_size: Callable[[Picture], Size],
    frame_size: Callable[[Video], Size],
    marker: Callable[[int, float], str],
) -> list[ChatMessage]:
    """Media as parts of a message: a picture by itself, of a video each frame after its marker."""
    parts: list[ChatMessage] = []
    for item in media:
        if isinstance(item, Picture):
            parts.append(picture_part(item, image_size(item)))
            continue
        size = frame_size(item)
        for number, (frame, seconds) in enumerate(zip(item.frames, item.times_s, strict=True), start=1):
            parts += [text_part(marker(number, seconds)), picture_part(frame, size)]
    return parts


def _at_most(size: Size, pixels: int) -> Size:
    return fit(size, PixelBudget(min_pixels=1, max_pixels=pixels), factor=1)
