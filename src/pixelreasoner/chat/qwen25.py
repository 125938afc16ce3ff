"""The renderer of Qwen2.5-VL, the family of the paper's own checkpoint."""

from __future__ import annotations

from typing import Any

from pixelreasoner.chat.layout import VisualBlock
from pixelreasoner.chat.pixels import Normalization
from pixelreasoner.chat.qwen import VIDEO, QwenVLRenderer
from pixelreasoner.chat.tokens import Piece
from pixelreasoner.core.geometry import Size, Unit
from pixelreasoner.core.media import Video


class Qwen25VLRenderer(QwenVLRenderer):
    """Qwen2.5-VL: boxes in pixels of the image as shown, and a video as one block.

    The time of a frame is in its M-RoPE position: a second is `tokens_per_second` positions, whatever the
    number of frames.
    """

    default_unit = Unit.PIXEL
    # The statistics of CLIP's training images.
    default_normalization = Normalization(
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    )
    processor_types = ("Qwen2_5_VLProcessor", "Qwen2VLVideoProcessor")

    def __init__(self, *args: Any, tokens_per_second: float = 4, **options: Any) -> None:
        """As `QwenVLRenderer`; `tokens_per_second` is from the checkpoint's vision config."""
        super().__init__(*args, **options)
        self.tokens_per_second = tokens_per_second

    @classmethod
    def _family_options(cls, vision: Any) -> dict[str, Any]:
        return {"tokens_per_second": vision.tokens_per_second}

    def _video_pieces(self, video: Video) -> list[Piece]:
        return self.codec.pieces(VIDEO)

    def _video_blocks(self, video: Video, size: Size) -> list[VisualBlock]:
        """One block, its temporal patches evenly spaced: the mean of what the frames' times say."""
        gaps = max(1, len(video.times_s) - 1)
        seconds = self.temporal_patch * (video.times_s[-1] - video.times_s[0]) / gaps
        return [self._block("video", video.frames, size, time_step=self.tokens_per_second * seconds)]
