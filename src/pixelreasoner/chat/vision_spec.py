"""How a checkpoint sees and points: patches, pixel budgets, colours, and what the numbers of a box mean.

Known from the files of a checkpoint without weights or tokenizer: all that a teacher or an operation needs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from pixelreasoner.chat.chat_format import PixelBudget
from pixelreasoner.chat.pixels import Normalization, fit, fit_frames
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.geometry import Size, Unit
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.ops.image_context import DisplayedImage, ImageContext


@dataclass(frozen=True)
class VisionSpec:
    """A model's view of pictures and videos."""

    unit: Unit
    """What the numbers of a box mean."""
    patch: int
    """Side of a patch in pixels."""
    merge: int
    """Patches along one side of a language-model token."""
    temporal_patch: int
    """Frames that one token of a video spans."""
    normalization: Normalization
    """How the vision tower reads colours."""
    image: PixelBudget
    """Of the pictures of a question."""
    crop: PixelBudget
    """Of crops and selected frames."""
    video_frame: PixelBudget
    """Of each frame of a video."""
    all_frames: PixelBudget | None = None
    """Of all frames of a video together, as the processor of Qwen3-VL counts; None: only each one counts."""
    tokens_per_second: float = 4.0
    """M-RoPE positions per second of a video that is one block."""

    @property
    def factor(self) -> int:
        """Side of one language-model token in pixels."""
        return self.patch * self.merge

    @property
    def coordinates(self) -> str:
        """A text that differs where the same numbers of a box mean another region."""
        if self.unit is not Unit.PIXEL:
            return self.unit.value
        # Pixels of the image as shown: the size it is shown at is part of the meaning.
        budgets = (f"{b.min_pixels}..{b.max_pixels}" for b in (self.image, self.crop))
        return f"pixel of {' and '.join(budgets)} in steps of {self.factor}"

    def size_of(self, picture: Picture, *, crop: bool) -> Size:
        """The size a picture of the question, or one that an operation returned, is shown at."""
        return fit(picture.size, self.crop if crop else self.image, factor=self.factor)

    def frame_size(self, video: Video) -> Size:
        """The size the frames of a video are shown at."""
        each, whole, n = self.video_frame, self.all_frames, len(video.frames)
        if whole is None:
            return fit(video.size, each, factor=self.factor)
        if each.max_pixels >= whole.max_pixels:  # a frame alone is not limited
            return fit_frames(video.size, n, whole, factor=self.factor, temporal_patch=self.temporal_patch)
        most = max(1, min(each.max_pixels, whole.max_pixels // n))
        budget = PixelBudget(min_pixels=min(each.min_pixels, most), max_pixels=most)
        return fit(video.size, budget, factor=self.factor)

    def n_tokens(self, media: Media, *, crop: bool) -> int:
        """The language-model tokens that a media item takes; its pixels are not touched."""
        if isinstance(media, Picture):
            return self._area(self.size_of(media, crop=crop))
        return -(-len(media.frames) // self.temporal_patch) * self._area(self.frame_size(media))

    def _area(self, size: Size) -> int:
        return (size.width // self.factor) * (size.height // self.factor)

    def displayed(self, picture: Picture, *, crop: bool) -> DisplayedImage:
        """A picture as the model sees it."""
        return DisplayedImage(picture, self.size_of(picture, crop=crop))

    def image_context(self, media: Sequence[Media], crops: Collection[int] = ()) -> ImageContext:
        """What a prompt shows: pictures are numbered from 1, a video is apart and has no number.

        `crops` are the places in `media` of what operations returned earlier (`Segment.crops`).

        Raises:
            MediaError: there is more than one video.
        """
        videos = [item for item in media if isinstance(item, Video)]
        if len(videos) > 1:
            raise MediaError(f"there are {len(videos)} videos in one conversation; make one of each video")
        images = tuple(
            self.displayed(item, crop=at in crops)
            for at, item in enumerate(media)
            if isinstance(item, Picture)
        )
        shown_size = partial(self.size_of, crop=True)
        return ImageContext(images, videos[0] if videos else None, shown_size)


def expanded_tokens(
    segment: Segment, placeholders: frozenset[int], vision: VisionSpec, *, prompt: bool
) -> int:
    """The tokens of a segment with its placeholders expanded: `Renderer.n_tokens` of every family."""
    words = sum(token not in placeholders for token in segment.ids)
    media = enumerate(segment.media)
    return words + sum(vision.n_tokens(m, crop=not prompt or at in segment.crops) for at, m in media)
