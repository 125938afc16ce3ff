"""Which frames stand for a video, and when they are shown."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low

LATE_FRAMES = 4
"""A damaged video shows some frames out of their order; a clock that is back for longer has started again."""


def spread(times: Sequence[int], n: int) -> list[int]:
    """The indices of the frames on screen at the middles of `n` equal stretches of a video.

    `times` are the moments at which its frames appear, strictly ascending; the last frame is taken to stay
    for the mean of the gaps. At most `n` indices, ascending, none twice.
    """
    count = len(times)
    if count <= n:
        return list(range(count))
    # Whole numbers throughout: a middle that falls on a frame's very start must not depend on rounding.
    span = (times[-1] - times[0]) * count
    middles = (times[0] + (2 * i + 1) * span // (2 * n * (count - 1)) for i in range(n))
    return list(dict.fromkeys(bisect_right(times, t) - 1 for t in middles))


def segment_centres(first: int, last: int, n: int) -> list[int]:
    """The frames at the centres of `n` equal segments of the frames `first` to `last`, by counting frames.

    The sampling of MVBench: frame i is int(first + s / 2 + round(s * i)) with s = (last - first) / n. Of few
    frames some come more than once.

    Source: the evaluation notebook of MVBench (K. Li et al., "MVBench", CVPR 2024).
    """
    size = (last - first) / n
    return [int(first + size / 2 + round(size * i)) for i in range(n)]


@dataclass(frozen=True)
class Clip:
    """A part of a video, of which frames are taken by `segment_centres`."""

    start_s: float | None = None
    """None: from the first frame."""
    end_s: float | None = None
    """None: to the last frame."""
    fps: float | None = None
    """Frames per second of a folder of frames, where a clip needs it; a file says it itself."""

    def frames(self, count: int, fps: float, n: int, *, first: int = 0) -> list[int]:
        """The numbers of `n` frames, none where the part lies outside of the video.

        Args:
            count: frames there are.
            fps: of the video.
            n: frames wanted.
            first: the number of the first frame.
        """
        start = first if self.start_s is None else max(first, round(self.start_s * fps))
        last = first + count - 1
        end = last if self.end_s is None else min(round(self.end_s * fps), last)
        return segment_centres(start, end, n) if start <= end else []


def mend_clock(times: Sequence[int], longest: int) -> list[int] | None:
    """Times that ascend, of frames in their order, in ticks; None where such a clock tells nothing.

    A step is wrong that does not go forward, or goes further than `longest`. A frame that comes late (a later
    one of the next `LATE_FRAMES` is in time again) is shown for a tick. Otherwise the clock has started again
    or jumped: the median of the other steps takes the place of this one, and all later times follow. More
    than a tenth of wrong steps is too many.
    """
    steps = [later - earlier for earlier, later in pairwise(times)]
    right = [step for step in steps if 0 < step <= longest]
    if len(steps) - len(right) > len(steps) / 10:
        return None
    usual = median_low(right or [1])
    mended = list(times[:1])
    shift = 0
    for i, time in enumerate(times[1:], start=1):
        now = mended[-1]
        if not now < time + shift <= now + longest:
            next_ones = times[i + 1 : i + 1 + LATE_FRAMES]
            if time + shift <= now and any(now < later + shift <= now + longest for later in next_ones):
                mended.append(now + 1)
                continue
            shift = now + usual - time
        mended.append(time + shift)
    return mended
