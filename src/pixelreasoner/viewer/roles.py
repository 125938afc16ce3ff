"""What each operation of a trajectory is with regard to the evidence: its colour on a page, and its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pixelreasoner.core.inspection import InspectedRegion, inspected_regions
from pixelreasoner.core.task import Cue
from pixelreasoner.core.trajectory import Trajectory

ROLLOUT = "policy"
"""The source of a trajectory that a model sampled: its operations are not judged."""
REFERENCE = "reference"
"""The source of a task that is shown without an attempt at it."""
FAR_LARGER = 2.0
"""A crop is too large when its area is at least this many times that of a later one on the evidence."""
CROP, FITTING, WRONG, LARGE = "crop", "fitting", "wrong", "large"
LABELS: Mapping[str, str] = {WRONG: " wrong", LARGE: " too large"}
"""What follows the number of a crop."""
LEGEND: Mapping[str, str] = {
    FITTING: "looks at the evidence",
    WRONG: "wrong on purpose: shows nothing of it",
    LARGE: "too large on purpose: a closer crop follows",
}


def operation_roles(trajectory: Trajectory) -> tuple[str, ...]:
    """For each turn one of `CROP`, `FITTING`, `WRONG`, `LARGE`; `CROP` says nothing.

    Of a synthesised trajectory an operation is too large where it shows all of the cue, and a later crop on
    the cue has at most half its area. Of the others it is wrong where it is masked, and fitting where it
    shows any of the cue.
    """
    if trajectory.source == ROLLOUT:
        return (CROP,) * len(trajectory.turns)
    regions, cue = inspected_regions(trajectory), trajectory.task.cue
    roles: list[str] = []
    for i, (turn, region) in enumerate(zip(trajectory.turns, regions, strict=True)):
        if _is_far_larger(region, regions[i + 1 :], cue):
            roles.append(LARGE)
        elif turn.masked is not None:
            roles.append(WRONG)
        else:
            shows_it = region is not None and cue is not None and region.coverage_of(cue) > 0
            roles.append(FITTING if shows_it else CROP)
    return tuple(roles)


def _is_far_larger(
    region: InspectedRegion | None, later: Sequence[InspectedRegion | None], cue: Cue | None
) -> bool:
    if region is None or region.box is None or cue is None or region.coverage_of(cue) < 1:
        return False
    on_it = (other.box for other in later if other is not None and other.coverage_of(cue) > 0)
    areas = [box.area for box in on_it if box is not None]
    return bool(areas) and region.box.area >= FAR_LARGER * min(areas)


def template_of(trajectory: Trajectory) -> str:
    """Return the template that synthesis wrote a trajectory after; empty for others."""
    return "" if trajectory.source in (ROLLOUT, REFERENCE) else trajectory.source
