"""How the families write a video, and how it is laid out for the model.

Both show the same frames at the same size; they differ in where the time of a frame is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from pixelreasoner.chat.layout import VisualBlock
from pixelreasoner.chat.pixels import resized
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Picture, Video


class VideoLayout(Protocol):
    """The places of one video in a conversation."""

    def markers(self, video: Video, vision: VisionSpec, template: str) -> list[str]:
        """What stands before each placeholder; one placeholder for each entry.

        `template` has the fields first, last (1-based frames) and seconds.
        """
        ...

    def blocks(self, video: Video, vision: VisionSpec) -> list[VisualBlock]:
        """One block for each placeholder."""
        ...


class OneBlock:
    """A video is one block: the time of a frame is in its M-RoPE position (Qwen2.5-VL)."""

    def markers(self, video: Video, vision: VisionSpec, template: str) -> list[str]:
        return [""]

    def blocks(self, video: Video, vision: VisionSpec) -> list[VisualBlock]:
        """Temporal patches evenly spaced: the mean of what the frames' times say.

        A second is `tokens_per_second` positions, whatever the number of frames.
        """
        gaps = max(1, len(video.times_s) - 1)
        seconds = vision.temporal_patch * (video.times_s[-1] - video.times_s[0]) / gaps
        step = vision.tokens_per_second * seconds
        return [block("video", video.frames, vision.frame_size(video), vision, time_step=step)]


class BlockPerPatch:
    """One block per temporal patch, each after a marker that says its time (Qwen3-VL)."""

    def markers(self, video: Video, vision: VisionSpec, template: str) -> list[str]:
        """The time of a patch is half-way between its first and last frame."""
        step, times = vision.temporal_patch, video.times_s
        out: list[str] = []
        for first in range(0, len(times), step):
            last = min(first + step, len(times)) - 1
            seconds = (times[first] + times[last]) / 2
            out.append(template.format(first=first + 1, last=last + 1, seconds=seconds))
        return out

    def blocks(self, video: Video, vision: VisionSpec) -> list[VisualBlock]:
        step, size = vision.temporal_patch, vision.frame_size(video)
        patches = (video.frames[at : at + step] for at in range(0, len(video.frames), step))
        return [block("video", patch, size, vision) for patch in patches]


ONE_BLOCK, BLOCK_PER_PATCH = OneBlock(), BlockPerPatch()


def block(
    kind: Literal["image", "video"],
    frames: Sequence[Picture],
    size: Size,
    vision: VisionSpec,
    *,
    time_step: float = 1.0,
) -> VisualBlock:
    """An image, or a run of frames; the last frame is repeated to fill its temporal patch."""
    if kind == "video":
        frames = [*frames, *[frames[-1]] * (-len(frames) % vision.temporal_patch)]
    shown = [resized(frame, size) for frame in frames]
    time = max(1, len(frames) // vision.temporal_patch)
    grid = (time, size.height // vision.patch, size.width // vision.patch)
    return VisualBlock(
        key=f"{kind}:{'+'.join(frame.digest for frame in frames)}:{size.width}x{size.height}",
        kind=kind,
        frames=shown[0][None] if len(shown) == 1 else np.stack(shown),
        grid_thw=grid,
        n_tokens=grid[0] * grid[1] * grid[2] // vision.merge**2,
        time_step=time_step,
    )
