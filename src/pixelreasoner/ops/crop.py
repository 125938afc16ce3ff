"""crop_image: a closer look at a region of an image (paper, appendix C.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import Field

from pixelreasoner.core.errors import ErrorClass, OperationError
from pixelreasoner.core.geometry import Box, Size, Unit
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.ops.image_context import DisplayedImage, ImageContext
from pixelreasoner.ops.operation import (
    ToolSchema,
    brief,
    check_index,
    check_names,
    check_template,
    function_schema,
    json_kind,
)

MIN_SIDE_PX = 4
"""The shortest side of a crop, in original pixels: below it there is nothing to see."""

_ARGUMENTS = ("bbox_2d", "target_image")
_CORNERS = ("x1", "y1", "x2", "y2")
_UNIT_WORDS = {
    Unit.PIXEL: "in pixels of the image as shown",
    Unit.FRACTION: "as fractions of the image's width and height, from 0 to 1",
    Unit.RELATIVE: "in thousandths of the image's width and height, from 0 to 1000",
}
# A box may pass the edge by one step of its scale, as a rounded coordinate does. The step of a fraction is
# its third decimal.
_STEP = {Unit.PIXEL: 1.0, Unit.FRACTION: 0.001, Unit.RELATIVE: 1.0}


@dataclass(frozen=True)
class CropImage:
    """Cuts a box out of an image of the conversation, from its ORIGINAL pixels.

    The model gives the box in `unit`, relative to the image it names; pixel coordinates refer to the size it
    was shown at. Bounds are rounded outward. A crop is an image like any other: cropping it again cuts
    from original pixels too.
    """

    unit: Unit
    """What the numbers of `bbox_2d` mean: a property of the model family, never guessed."""
    reply: str
    """The line before the crop. Fields: index (the number the crop gets), width, height (its original
    pixels), shown_width, shown_height (its pixels as shown), target."""
    min_side_px: Annotated[int, Field(ge=1, le=100_000)] = MIN_SIDE_PX
    """Crops with a shorter side are refused, in original pixels."""
    name: str = "crop_image"
    description: str = "Cut a region out of an image and show it at a higher resolution."

    def __post_init__(self) -> None:
        check_reply(self.reply)

    @property
    def schema(self) -> ToolSchema:
        corners = f"The box as [x1, y1, x2, y2], left, top, right and bottom, {_UNIT_WORDS[self.unit]}."
        return function_schema(
            self.name,
            self.description,
            {
                "bbox_2d": {
                    "type": "array",
                    "items": {"type": "number"},
                    "minItems": 4,
                    "maxItems": 4,
                    "description": corners,
                },
                "target_image": {
                    "type": "integer",
                    "description": "The number of the image to cut from, counted from 1 as they appear.",
                },
            },
        )

    def __call__(self, arguments: Mapping[str, Any], context: ImageContext) -> Observation:
        """The crop; `box` is its region in pixels of the target image, `source` the target's number.

        Raises:
            OperationError: there is no such image, or no such box in it.
        """
        target, shown = target_of(arguments, context)
        box = _read_box(arguments["bbox_2d"], self.unit, shown.view)
        # The box speaks of the image as shown; fractions are what the shown and the original image share.
        fractions = box.to(Unit.FRACTION, shown.view)
        return cut(fractions, target, context, reply=self.reply, min_side_px=self.min_side_px)


def check_reply(reply: str) -> None:
    """Refuse a line before a crop that names a field there is not."""
    fields = {"index": 2, "width": 8, "height": 8, "target": 1, "shown_width": 8, "shown_height": 8}
    check_template(reply, "the reply to a crop", **fields)


def target_of(arguments: Mapping[str, Any], context: ImageContext) -> tuple[int, DisplayedImage]:
    """The image that a call with a box names, and its number.

    Raises:
        OperationError: there is no such image, or the arguments have other names.
    """
    check_names(arguments, _ARGUMENTS)
    if not context.images:
        hint = " yet; select frames of the video first" if context.video else ""
        raise OperationError(f"there is no image to crop{hint}", ErrorClass.TARGET)
    target = check_index(arguments["target_image"], "target_image", len(context.images))
    return target, context.images[target - 1]


def cut(box: Box, target: int, context: ImageContext, *, reply: str, min_side_px: int) -> Observation:
    """The crop of image `target` that a box in fractions asks for.

    Raises:
        OperationError: it holds too few pixels.
    """
    picture = context.images[target - 1].picture
    left, top, right, bottom = box.pixel_bounds(picture.size)
    # An image that is itself smaller than the least crop can still be seen whole.
    least = Size(min(min_side_px, picture.size.width), min(min_side_px, picture.size.height))
    if right - left < least.width or bottom - top < least.height:
        raise OperationError(
            f"the box holds only {right - left}x{bottom - top} pixels of the image; "
            f"a crop needs at least {least.width}x{least.height}: give a larger box",
            ErrorClass.REGION,
        )
    crop = picture.crop(left, top, right, bottom)
    shown = context.shown_size(crop)
    text = reply.format(
        index=len(context.images) + 1, target=target, width=crop.size.width, height=crop.size.height,
        shown_width=shown.width, shown_height=shown.height,
    )  # fmt: skip
    return Observation(text, images=(crop,), box=Box(left, top, right, bottom), source=target)


def _read_box(value: object, unit: Unit, view: Size) -> Box:
    """The box a model wrote, inside the image.

    Raises:
        OperationError: it is not four numbers, reaches out of the image, or has no area.
    """
    numbers = read_numbers(value)
    edge = Box(0, 0, 1, 1, Unit.FRACTION).to(unit, view)
    x1, y1, x2, y2 = (
        _read_coordinate(v, corner, limit, _STEP[unit])
        for v, corner, limit in zip(numbers, _CORNERS, (edge.x2, edge.y2) * 2, strict=True)
    )
    check_area(x1, y1, x2, y2)
    return Box(x1, y1, x2, y2, unit)


def read_numbers(value: object) -> list[float]:
    """The four numbers that a model wrote for a box.

    Raises:
        OperationError: it is something else.
    """
    if not isinstance(value, (list, tuple)):
        raise OperationError(
            f"bbox_2d must be a list of 4 numbers [x1, y1, x2, y2], not {json_kind(value)}",
            ErrorClass.ARGUMENTS,
        )
    numbers = cast(list[object], value)
    if len(numbers) != 4:
        raise OperationError(
            f"bbox_2d must have 4 numbers [x1, y1, x2, y2], not {len(numbers)}", ErrorClass.ARGUMENTS
        )
    for number, corner in zip(numbers, _CORNERS, strict=True):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise OperationError(
                f"{corner} of bbox_2d must be a number, not {json_kind(number)}", ErrorClass.ARGUMENTS
            )
    return cast(list[float], numbers)


def check_area(x1: float, y1: float, x2: float, y2: float) -> None:
    """Refuse a box whose corners are in the wrong order.

    Raises:
        OperationError: they are.
    """
    for low, high, axis in ((x1, x2, "x"), (y1, y2, "y")):
        if low >= high:
            raise OperationError(
                f"the box has no area: {axis}1 ({brief(low)}) must be less than {axis}2 ({brief(high)})",
                ErrorClass.REGION,
            )


def _read_coordinate(value: float, corner: str, limit: float, step: float) -> float:
    """One number of a box, from 0 to `limit`; up to one `step` beyond is taken as the edge."""
    if not -step <= value <= limit + step:
        raise OperationError(
            f"{corner} of bbox_2d is outside the image: it must be from 0 to {brief(limit)}, "
            f"not {brief(value)}",
            ErrorClass.REGION,
        )
    return min(max(float(value), 0.0), limit)
