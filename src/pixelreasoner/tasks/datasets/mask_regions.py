"""From the masks of a picture to the regions that may be worth a question.

SA-1B's masks have neither names nor texts: they only propose. A region is the box of a mask (`bbox`, x, y,
width, height). The masks themselves (`segmentation`, compressed COCO RLE) are not decoded: `bbox` and `area`
say all that is asked of them here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.geometry import Box, Size

SHORTEST_PX = 28
"""A region is longer on both sides: a crop of less is less than one token of a Qwen2.5-VL model."""
LEAST_FILLED = 0.25
"""Share of its box that a mask fills at least; the box of a wire or a frame shows something else."""
LEAST_IOU, LEAST_STABILITY = 0.88, 0.95
"""Of `predicted_iou` and `stability_score`: the defaults of SAM's automatic mask generator."""
MOST_IOU = 0.5
"""Of two regions that share more, the later one is left out."""
DETAIL_SHARE = 0.5
"""A mask whose box is at most this much of a region, and has its centre there, is a detail of the region."""


@dataclass(frozen=True)
class RegionRules:
    """Which of a picture's regions are kept."""

    most: int = 8
    """Regions of a picture."""
    least_share: float = 0.001
    """Of the picture's area, that a region has."""
    most_share: float = 0.1


def regions_of(masks: Sequence[Mapping[str, Any]], size: Size, rules: RegionRules) -> tuple[Box, ...]:
    """The regions that may be worth a question, in pixels, the most promising first.

    The order: more details within, then the higher product of `predicted_iou` and `stability_score`, then the
    larger box, then from top to bottom and left to right.

    Args:
        masks: the `annotations` of SA-1B.
        size: of the picture.
        rules: bounds.

    Raises:
        TypeError, ValueError, KeyError: a mask has another form.
    """
    if not masks:
        return ()
    table = np.array([_numbers(mask) for mask in masks], float)
    if not np.isfinite(table).all():
        raise ValueError("a number of a mask is not finite")
    table[:, :4] = np.clip(table[:, :4], 0, [size.width, size.height] * 2)
    boxes, filled, iou, stability = table[:, :4], table[:, 4], table[:, 5], table[:, 6]
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = sides.prod(1)
    shares = areas / (size.width * size.height)
    usable = (
        (sides > SHORTEST_PX).all(1)
        & (shares >= rules.least_share)
        & (shares <= rules.most_share)
        & (filled >= LEAST_FILLED * areas)
        & (iou >= LEAST_IOU)
        & (stability >= LEAST_STABILITY)
    )
    details = _details(boxes, areas)
    order = np.lexsort((boxes[:, 0], boxes[:, 1], -areas, -iou * stability, -details))
    chosen: list[Box] = []
    for at in order[usable[order]]:
        x1, y1, x2, y2 = boxes[at].tolist()
        box = Box(x1, y1, x2, y2)
        if all(box.iou(other) <= MOST_IOU for other in chosen):
            chosen.append(box)
        if len(chosen) == rules.most:
            break
    return tuple(chosen)


def _numbers(mask: Mapping[str, Any]) -> tuple[float, ...]:
    """Left, top, right, bottom, the mask's area, and its two scores."""
    x, y, width, height = map(float, mask["bbox"])
    scores = (float(mask["predicted_iou"]), float(mask["stability_score"]))
    return (x, y, x + width, y + height, float(mask["area"]), *scores)


def _details(boxes: npt.NDArray[np.float64], areas: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """How many details each box has, int64 [N]."""
    x, y = (boxes[:, :2] + boxes[:, 2:]).T / 2
    left, top, right, bottom = boxes.T[:, :, None]
    within = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    return (within & (areas <= DETAIL_SHARE * areas[:, None])).sum(1)
