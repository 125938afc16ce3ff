"""The one rule by which pictures are resized before a model sees them, and the resizing itself."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image

from pixelreasoner.chat.dialect import PixelBudget
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Picture, Pixels

MAX_ASPECT_RATIO = 200
CACHED_VIEWS = 512
"""Resized pictures kept in memory: a rollout shows the same picture to G attempts and to the trainer."""


def fit(size: Size, budget: PixelBudget, *, factor: int) -> Size:
    """The size a picture is shown at: sides are multiples of `factor`, pixels within the budget.

    The rule of the Qwen-VL processors (round to the factor, then scale into the budget), so that a
    released processor would leave the result as it is.

    Raises:
        MediaError: one side is more than 200 times the other.
    """
    width, height = size
    if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
        raise MediaError(
            f"an image of {width}x{height} pixels is too elongated (more than {MAX_ASPECT_RATIO}:1); crop it"
        )
    w, h = max(factor, round(width / factor) * factor), max(factor, round(height / factor) * factor)
    if w * h > budget.max_pixels:
        shrink = math.sqrt(width * height / budget.max_pixels)
        w = max(factor, math.floor(width / shrink / factor) * factor)
        h = max(factor, math.floor(height / shrink / factor) * factor)
    elif w * h < budget.min_pixels:
        grow = math.sqrt(budget.min_pixels / (width * height))
        w, h = math.ceil(width * grow / factor) * factor, math.ceil(height * grow / factor) * factor
    return Size(w, h)


@lru_cache(maxsize=CACHED_VIEWS)
def resized(picture: Picture, size: Size) -> Pixels:
    """`picture` at `size`, uint8 [H, W, 3], bicubic with antialiasing; read-only and shared."""
    if picture.size == size:
        return picture.pixels
    out = np.asarray(Image.fromarray(picture.pixels).resize(size, Image.Resampling.BICUBIC))
    out.flags.writeable = False
    return out
