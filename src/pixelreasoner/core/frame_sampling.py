"""Which frames stand for a video."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


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
