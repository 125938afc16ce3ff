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
        times = _times_ms(image, name, watch)
        chosen = spread(times, n_frames)
        check_frame_bytes(name, image.size, len(chosen))
        watch.next_phase()
        first = _first(image)
        frames: list[Picture] = []
        for at in chosen:
            watch.check(at / len(times))
            image.seek(first + at)
            image.load()
            frames.append(Picture(turned(rgb(image), orientation(image))))
    return Video(tuple(frames), tuple((times[i] - times[0]) / 1000 for i in chosen))


def _first(image: Any) -> int:
    """The first frame's number: an APNG may begin with a picture for programs without animation."""
    return 1 if image.info.get("default_image") else 0


def _times_ms(image: Any, name: str, watch: Watch) -> list[int]:
    """When each frame appears, in milliseconds; all frames are decoded once, up to a damaged one."""
    # Only a GIF does not say how many frames it holds; reading it is progress enough.
    told = None if image.format == "GIF" else int(image.n_frames) - _first(image)
    times: list[int] = []
    now = n_damaged = 0
    while told is None or len(times) < told:
        if max(told or 0, len(times)) > MAX_FRAMES:
            raise MediaError(f"{name} has more than {MAX_FRAMES} frames; cut it into parts")
        watch.check(len(times) / told if told else 0.0)
        try:
            image.seek(_first(image) + len(times))
            image.load()
        except MediaError:
            raise
        except DAMAGED as e:
            n_damaged = (told - len(times)) if told else int(not isinstance(e, EOFError))
            break
        times.append(now)
        duration = round(float(image.info.get("duration", 0) or 0))
        now += duration if duration >= SHORTEST_MS else USUAL_MS
    total = len(times) + n_damaged
    if n_damaged > MAX_LOST * total:
        raise MediaError(f"{name} is damaged: {n_damaged} of {total} frames are lost; fetch it again")
    if n_damaged:
        LOG.warning("%s: %d of %d frames are damaged and are left out", name, n_damaged, total)
    return times
