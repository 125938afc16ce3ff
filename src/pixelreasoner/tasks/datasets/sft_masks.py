"""What of a published trajectory is not learned: the paper's mask, that of the authors' trainer, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pixelreasoner.chat.calls import CALL_CLOSE, CALL_OPEN
from pixelreasoner.core.inspection import InspectedRegion, inspected_regions
from pixelreasoner.core.trajectory import Span, Trajectory

Mask = Callable[[Trajectory], Sequence[Span | None]]
"""For each message, the characters that are not learned."""


def erroneous_operations(trajectory: Trajectory) -> list[Span | None]:
    """The calls of erroneous operations, as the paper masks them (section 4.1).

    An operation is erroneous where it failed, or where its region shares nothing with that of the last one:
    the paper's wrong boxes and frames have no overlap with the cue, and its last operation is on the cue
    (Table 2). A crop that holds the last one, to be zoomed further, is learned.
    """
    regions = inspected_regions(trajectory)
    last = next((region for region in reversed(regions) if region is not None), None)
    spans: list[Span | None] = []
    for turn, region in zip(trajectory.turns, regions, strict=True):
        failed = turn.observation is not None and not turn.observation.valid
        wrong = region is not None and last is not None and _apart(region, last)
        spans.append(call_span(turn.text) if failed or wrong else None)
    return spans


def all_but_the_last_two(trajectory: Trajectory) -> list[Span | None]:
    """Every message but the last two, as the authors' released trainer learns them."""
    n = len(trajectory.turns) - 2
    return [(0, len(turn.text)) if i < n else None for i, turn in enumerate(trajectory.turns)]


def nothing(trajectory: Trajectory) -> list[Span | None]:
    """No mask: everything that the model says is learned."""
    return [None] * len(trajectory.turns)


MASKS: Mapping[str, Mask] = {
    "paper": erroneous_operations,
    "released": all_but_the_last_two,
    "none": nothing,
}


def _apart(a: InspectedRegion, b: InspectedRegion) -> bool:
    """Whether two regions share nothing."""
    if a.target != b.target or (a.frames and b.frames and not set(a.frames) & set(b.frames)):
        return True
    return a.box is not None and b.box is not None and not a.box.overlaps(b.box)


def call_span(text: str) -> Span:
    """Where the call stands in a message, in characters; to the end, where it is not closed."""
    start = text.index(CALL_OPEN)
    end = text.find(CALL_CLOSE, start)
    return start, len(text) if end < 0 else end + len(CALL_CLOSE)
