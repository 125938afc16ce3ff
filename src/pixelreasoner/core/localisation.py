"""How well operations find the cue, counted: recall alone would call a crop of the whole image a hit.

Three rates, each over the operations of many trajectories whose result was read (`core.inspection`)::

    cue_coverage         recall: at least HIT of the cue's box is in view, and one of its frames
    cue_iou              recall and precision: the mean intersection over union of crop and cue
    whole_image_crops    the share of crops of at least WHOLE of the area of the image they are of

A hit with a low IoU and a whole-image crop is no closer look at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import attrgetter

from pixelreasoner.core.inspection import inspected_regions
from pixelreasoner.core.media import Picture
from pixelreasoner.core.trajectory import Trajectory

HIT = 0.5
"""The share of the cue's area that an operation on the cue shows at least."""
WHOLE = 0.9
"""The share of its image's area from which on a crop is one of the whole image."""


@dataclass(frozen=True, slots=True)
class Localisation:
    """Counts that add up over trajectories."""

    n_inspected: int = 0
    """Operations whose region is known, on a task whose cue is known."""
    n_hits: int = 0
    """Those on the cue."""
    n_boxed: int = 0
    """Crops among them, where the cue has a box."""
    iou: float = 0.0
    """The sum of their IoU with the cue; 0 for one of other frames or of another image."""
    n_crops: int = 0
    """All crops, whether a cue is known or not."""
    n_whole: int = 0
    """Those of the whole image."""

    @property
    def cue_coverage(self) -> float | None:
        return self.n_hits / self.n_inspected if self.n_inspected else None

    @property
    def cue_iou(self) -> float | None:
        return self.iou / self.n_boxed if self.n_boxed else None

    @property
    def whole_image_crops(self) -> float | None:
        return self.n_whole / self.n_crops if self.n_crops else None

    @classmethod
    def total(cls, found: Iterable[Localisation]) -> Localisation:
        """The counts of several."""
        numbers = attrgetter(*(f.name for f in fields(cls)))
        columns = zip(*(numbers(one) for one in found), strict=True)
        return cls(*map(sum, columns))


def localise(trajectory: Trajectory) -> Localisation:
    """The counts of one trajectory."""
    cue = trajectory.task.cue
    seen = [region for region in inspected_regions(trajectory) if region is not None]
    shares = crop_shares(trajectory)
    whole = sum(share >= WHOLE for share in shares)
    if cue is None:
        return Localisation(n_crops=len(shares), n_whole=whole)
    overlaps = [overlap for region in seen if (overlap := region.iou_with(cue)) is not None]
    return Localisation(
        n_inspected=len(seen),
        n_hits=sum(region.coverage_of(cue) >= HIT for region in seen),
        n_boxed=len(overlaps),
        iou=sum(overlaps),
        n_crops=len(shares),
        n_whole=whole,
    )


def crop_shares(trajectory: Trajectory) -> list[float]:
    """For each crop whose result was read, its share of the area of the image it was asked from."""
    sizes = [item.size for item in trajectory.task.media if isinstance(item, Picture)]
    shares: list[float] = []
    for seen in trajectory.read_observations:
        if seen is None:
            continue
        if seen.valid and seen.box is not None and 1 <= seen.source <= len(sizes):
            width, height = sizes[seen.source - 1]
            shares.append(seen.box.area / (width * height))
        sizes += [picture.size for picture in seen.images]
    return shares
