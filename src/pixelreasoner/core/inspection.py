"""Evidence localisation: which region of the task's own media each operation of a trajectory showed.

A crop's box is in pixels of the image it was asked from, which may itself be a crop, or a frame of a video.
`inspected_regions` follows that chain back to where the pixels came from::

    image 1    the picture                           turn 1   crop [100, 40, 300, 240] of image 1
    image 2    its region [100, 40, 300, 240]        turn 2   crop [10, 10, 50, 50] of image 2
               -> looks: [100, 40, 300, 240] and [110, 50, 150, 90] of the picture
"""

from __future__ import annotations

from dataclasses import dataclass

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Cue
from pixelreasoner.core.trajectory import Observation, Trajectory


@dataclass(frozen=True)
class InspectedRegion:
    """A region of one media item of a task."""

    target: int
    """1-based index of the item in `Task.media`."""
    box: Box | None = None
    """In pixels of the item; None for all of it."""
    frames: tuple[int, ...] = ()
    """1-based frames of a video; empty for a picture."""

    def coverage_of(self, cue: Cue) -> float:
        """The share of the cue in view, 0 to 1; one of the cue's frames is enough to see its box."""
        if self.target != cue.target or (cue.frames and not set(self.frames) & set(cue.frames)):
            return 0.0
        if self.box is None or cue.box is None:
            return 1.0
        return self.box.coverage_of(cue.box)

    def iou_with(self, cue: Cue) -> float | None:
        """Intersection over union with the cue's box, 0 to 1; None unless both are boxes.

        0 for a region of another item, or of none of the cue's frames.
        """
        if self.box is None or cue.box is None:
            return None
        return self.box.iou(cue.box) if self.coverage_of(cue) > 0 else 0.0


def inspected_regions(trajectory: Trajectory) -> tuple[InspectedRegion | None, ...]:
    """For each turn, the region that its operation showed.

    None where the turn has no valid operation, or one whose observation names neither a box nor frames;
    and in the last turn, whose observation nobody read (`Trajectory.read_observations`).
    """
    media = trajectory.task.media
    video = next((i for i, item in enumerate(media, start=1) if isinstance(item, Video)), None)
    images: list[InspectedRegion | None] = [
        InspectedRegion(i) for i, item in enumerate(media, start=1) if isinstance(item, Picture)
    ]
    out: list[InspectedRegion | None] = []
    for seen in trajectory.read_observations:
        region = _region(seen, images, video) if seen is not None and seen.valid else None
        out.append(region)
        if seen is not None:
            images += _shown(seen, region)
    return tuple(out)


def _region(
    seen: Observation, images: list[InspectedRegion | None], video: int | None
) -> InspectedRegion | None:
    if seen.box is not None:
        source = images[seen.source - 1] if 1 <= seen.source <= len(images) else None
        return (
            None
            if source is None
            else InspectedRegion(source.target, _in_root(seen.box, source), source.frames)
        )
    return InspectedRegion(video, frames=seen.frames) if video is not None and seen.frames else None


def _in_root(box: Box, source: InspectedRegion) -> Box:
    """A box of an image, in pixels of the item the image was cut from."""
    if source.box is None:
        return box
    dx, dy = source.box.x1, source.box.y1
    return Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy)


def _shown(seen: Observation, region: InspectedRegion | None) -> list[InspectedRegion | None]:
    """What each image of an observation shows."""
    if region is not None and region.box is None and len(region.frames) == len(seen.images):
        return [InspectedRegion(region.target, frames=(frame,)) for frame in region.frames]
    return [region] * len(seen.images)
