"""Whether the numbers that a model writes for a box mean what the run took them for.

A family writes pixels, another one thousandths of the side. Read in the wrong unit, a good box lands
elsewhere: others measured a mean IoU of 0.54 under the right reading and of 0.00 under a wrong one. On tasks
whose cue has
a box, every box that the model wrote for the cue's own picture is compared with it under each reading::

    declared      as the run took it: what the operation showed; nothing where it refused the numbers
    pixels        pixels of the picture in its original size
    fractions     0 to 1 of the width and height
    thousandths   0 to 1000 of the width and height

The declared reading should win. Another one is warned of when its IoU is larger beyond chance and it shows
the cue more often as well: an operation that pads boxes on purpose loses IoU and no cue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from pixelreasoner.core.geometry import Box, Size, Unit
from pixelreasoner.core.localisation import HIT
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.evals.statistics import bootstrap_interval

DECLARED = "declared"
READINGS: Mapping[str, Unit] = {
    "pixels": Unit.PIXEL,
    "fractions": Unit.FRACTION,
    "thousandths": Unit.RELATIVE,
}
MIN_BOXES = 10
"""Below it no reading is warned of."""


@dataclass(frozen=True)
class BoxReading:
    """One box that a model wrote, beside the cue's, under each reading."""

    iou: Mapping[str, float]
    """Intersection over union, 0 to 1."""
    hit: Mapping[str, bool]
    """Whether at least `localisation.HIT` of the cue is in view."""
    coordinates: str = ""
    """What the run took the numbers for (`Trajectory.coordinates`)."""


def box_readings(trajectory: Trajectory) -> Iterator[BoxReading]:
    """The boxes of a rollout that were written for the picture that the cue lies in."""
    task = trajectory.task
    pictures = [item for item in task.media if isinstance(item, Picture)]
    cue = task.cue
    if cue is None or cue.box is None or not 1 <= cue.target <= len(task.media):
        return
    target = task.media[cue.target - 1]
    if not isinstance(target, Picture):
        return
    number = next(i for i, picture in enumerate(pictures, start=1) if picture is target)
    for turn in trajectory.turns:
        numbers = None if turn.call is None else _numbers(turn.call, number, alone=len(pictures) == 1)
        if numbers is None:
            continue
        seen = turn.observation
        # What a control showed in its place says nothing of how the numbers were read.
        if seen is not None and seen.replaced:
            continue
        shown = seen.box if seen is not None and seen.valid and seen.source == number else None
        boxes = {DECLARED: shown} | {
            name: _read(numbers, unit, target.size) for name, unit in READINGS.items()
        }
        yield BoxReading(
            iou={name: 0.0 if box is None else box.iou(cue.box) for name, box in boxes.items()},
            hit={name: box is not None and box.coverage_of(cue.box) >= HIT for name, box in boxes.items()},
            coordinates=trajectory.coordinates,
        )


def box_mapping(readings: Sequence[BoxReading]) -> dict[str, Any] | None:
    """Mean IoU and the share of boxes on the cue under each reading; None without boxes.

    `better` names another reading that fits better, None where the declared one does (or there are fewer than
    `MIN_BOXES`). The unit that the run used is no other reading: boxes that were refused, read in it, would
    show something.
    """
    if not readings:
        return None
    names = list(readings[0].iou)
    iou = {name: np.array([r.iou[name] for r in readings]) for name in names}
    hits = {name: float(np.mean([r.hit[name] for r in readings])) for name in names}
    better: list[str] = []
    for name, unit in READINGS.items():
        if all(r.coordinates == unit for r in readings):
            continue
        low, _ = bootstrap_interval(iou[name] - iou[DECLARED])
        if len(readings) >= MIN_BOXES and low > 0 and hits[name] > hits[DECLARED]:
            better.append(name)
    return {
        "n": len(readings),
        "iou": {name: _mean(values) for name, values in iou.items()},
        "on_cue": hits,
        "better": max(better, key=lambda name: iou[name].mean(), default=None),
    }


def _mean(values: Any) -> dict[str, Any]:
    return {"mean": float(values.mean()), "interval95": list(bootstrap_interval(values))}


def _numbers(call: ToolCall, number: int, *, alone: bool) -> tuple[float, ...] | None:
    """The four numbers of a call for a box in image `number`; None where it is no such call."""
    # Its arguments were written by a model: anything can stand in them.
    arguments = cast(object, call.arguments)
    if not isinstance(arguments, Mapping):
        return None
    written = cast(Mapping[str, Any], arguments)
    target, box = written.get("target_image", 1 if alone else None), written.get("bbox_2d")
    if target != number or not isinstance(box, (list, tuple)):
        return None
    values = cast(Sequence[Any], box)
    if len(values) != 4 or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        return None
    return tuple(float(v) for v in values) if all(abs(v) < 1e6 for v in values) else None


def _read(numbers: tuple[float, ...], unit: Unit, size: Size) -> Box:
    """The box in pixels of a picture, clipped to it."""
    x1, y1, x2, y2 = numbers
    return Box(x1, y1, x2, y2, unit).to(Unit.PIXEL, size).clip(size)
