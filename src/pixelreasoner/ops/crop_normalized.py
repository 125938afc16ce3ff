"""The crop operation that the released PixelReasoner checkpoints were trained with.

Boxes are fractions of the image's sides, and a margin is added around them. As in the code these models were
trained with, a box is in pixels of the image as shown once any of its numbers reaches 1, and what reaches out
of the image is cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from pixelreasoner.core.geometry import Box, Unit
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.ops.crop import check_area, check_reply, cut, read_numbers, target_of
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.ops.operation import ToolSchema, function_schema


@dataclass(frozen=True)
class CropImageNormalized:
    """Cuts a box and a margin around it out of an image, from its ORIGINAL pixels."""

    reply: str
    """The line before the crop; fields as those of `ops.crop.CropImage`."""
    padding: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The margin on each side, as a share of the image's width or height."""
    min_side_px: Annotated[int, Field(ge=1, le=100_000)] = 29
    """Crops with a shorter side are refused, in original pixels."""
    name: str = "crop_image_normalized"
    description: str = "Cut a region and a margin around it out of an image."

    def __post_init__(self) -> None:
        check_reply(self.reply)

    @property
    def schema(self) -> ToolSchema:
        corners = (
            "The box as [x1, y1, x2, y2], as fractions of the image's width and height, from 0.0 to 1.0."
        )
        target = "The number of the image to cut from, counted from 1 as they appear."
        return function_schema(
            self.name,
            self.description,
            {
                "bbox_2d": {"type": "array", "description": corners, "items": {"type": "number"}},
                "target_image": {"type": "number", "description": target},
            },
        )

    def __call__(self, arguments: Mapping[str, Any], context: ImageContext) -> Observation:
        """The crop; `box` is its region with the margin, in pixels of the target image.

        Raises:
            OperationError: there is no such image, or the box has no area or too little of it.
        """
        target, shown = target_of(arguments, context)
        x1, y1, x2, y2 = numbers = read_numbers(arguments["bbox_2d"])
        check_area(x1, y1, x2, y2)
        unit = Unit.FRACTION if all(number < 1 for number in numbers) else Unit.PIXEL
        box = Box(x1, y1, x2, y2, unit).to(Unit.FRACTION, shown.view).pad(self.padding)
        # What lies outside altogether becomes a box without area, which holds too few pixels.
        box = box.clip(shown.view)
        return cut(box, target, context, reply=self.reply, min_side_px=self.min_side_px)
