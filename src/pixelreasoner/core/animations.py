"""Moving pictures that are image files: GIF, WebP, APNG and AVIF, sampled like a video."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.frame_sampling import spread
from pixelreasoner.core.image_formats import DAMAGED, is_animated, opened
from pixelreasoner.core.image_pixels import orientation, rgb, turned
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.media_limits import (
    ANIMATION_SECONDS,
    MAX_FRAMES,
    MAX_LOST,
    Watch,
    check_frame_bytes,
)

LOG = logging.getLogger("pixelreasoner")

SHORTEST_MS = 11
"""A frame that is to stay for less stays for USUAL_MS, as in browsers."""
USUAL_MS = 100


def read_animation(path: Path, n_frames: int) -> Video | None:
    """`n_frames` frames of an animation, as those of a video; None where the file is no animation.

    A damaged end is left out, and told in the log. Times are seconds since the first frame.

    Raises:
        MediaError: more than `MAX_LOST` of it is damaged, or its frames are too large or too many.
    """
    name = str(path)
    watch = Watch(name, ANIMATION_SECONDS)
    with opened(path, name, watch) as image:
        if image is None or not is_animated(image):
            return None
        # The first picture of an APNG may be one for programs that show no animation.
        first = 1 if image.info.get("default_image") else 0
        indices = range(first, _count(image, name))
        check_frame_bytes(name, image.size, min(len(indices), n_frames))
        times = _times_ms(image, indices, name, watch)
        chosen = spread(times, n_frames)
        watch.next_phase()
        frames: list[Picture] = []
        for at in chosen:
            watch.check(at / len(times))
            image.seek(first + at)
            image.load()
            frames.append(Picture(turned(rgb(image), orientation(image))))
    return Video(tuple(frames), tuple((times[i] - times[0]) / 1000 for i in chosen))


def _count(image: Any, name: str) -> int:
    count = int(image.n_frames)
    if count > MAX_FRAMES:
        raise MediaError(f"{name} has {count} frames; the limit is {MAX_FRAMES}. Cut it into parts")
    return count


def _times_ms(image: Any, indices: range, name: str, watch: Watch) -> list[int]:
    """When each frame appears, in milliseconds; all frames are decoded once, up to a damaged one."""
    times: list[int] = []
    now = 0
    for done, i in enumerate(indices):
        watch.check(done / len(indices))
        try:
            image.seek(i)
            image.load()
        except MediaError:
            raise
        except DAMAGED:
            break
        times.append(now)
        duration = round(float(image.info.get("duration", 0) or 0))
        now += duration if duration >= SHORTEST_MS else USUAL_MS
    lost = len(indices) - len(times)
    if lost > MAX_LOST * len(indices):
        raise MediaError(f"{name} is damaged: {lost} of {len(indices)} frames are lost; fetch it again")
    if lost:
        LOG.warning("%s: %d of %d frames are damaged and are left out", name, lost, len(indices))
    return times
