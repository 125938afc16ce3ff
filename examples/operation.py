"""An operation of your own; a recipe names it `{ use = "examples.operation:MirrorImage" }`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelreasoner.core.media import Picture
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.ops.operation import ToolSchema, check_index, check_names, function_schema

TARGET = {"target_image": {"type": "integer", "description": "The number of the image, from 1."}}


@dataclass(frozen=True)
class MirrorImage:
    name: str = "mirror_image"

    @property
    def schema(self) -> ToolSchema:
        return function_schema(self.name, "Mirror an image from left to right.", TARGET)

    def __call__(self, arguments: Mapping[str, Any], context: ImageContext) -> Observation:
        check_names(arguments, tuple(TARGET))
        i = check_index(arguments["target_image"], "target_image", len(context.images))
        mirrored = Picture(np.ascontiguousarray(context.images[i - 1].picture.pixels[:, ::-1]))
        return Observation(f"Image {i}, mirrored:", images=(mirrored,), source=i)
