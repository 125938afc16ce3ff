"""The one rule by which pictures are resized before a model sees them, and the resizing itself."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from pixelreasoner.chat.chat_format import PixelBudget
from pixelreasoner.core.byte_cache import ByteCache
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Picture, Pixels

MAX_ASPECT_RATIO = 200
CACHED_BYTES = 256 * 2**20
"""Resized pictures kept in memory: a rollout shows the same picture to G rollouts and to the trainer."""


def fit(size: Size, budget: PixelBudget, *, factor: int) -> Size:
    """The size a picture is shown at: sides are multiples of `factor`, pixels within the budget.

    The rule of the Qwen-VL image processors (round to the factor, then scale into the budget), so that a
    released processor would leave the result as it is. They refuse a picture with one side more than 200
    times the other; here it is shown squeezed to that ratio, since a model may well crop a single line.
    """
    width, height = size
    width, height = min(width, MAX_ASPECT_RATIO * height), min(height, MAX_ASPECT_RATIO * width)
    w, h = round(width / factor) * factor, round(height / factor) * factor
    if w * h > budget.max_pixels:
        shrink = math.sqrt(width * height / budget.max_pixels)
        w, h = math.floor(width / shrink / factor) * factor, math.floor(height / shrink / factor) * factor
    elif w * h < budget.min_pixels:
        grow = math.sqrt(budget.min_pixels / (width * height))
        w, h = math.ceil(width * grow / factor) * factor, math.ceil(height * grow / factor) * factor
    return Size(max(w, factor), max(h, factor))


def fit_frames(size: Size, n_frames: int, budget: PixelBudget, *, factor: int, temporal_patch: int) -> Size:
    """The size the frames of a video are shown at, where the budget is for all of them together.

    The rule of the video processor of Qwen3-VL. As in `fit`, a frame that it would refuse is squeezed.
    """
    n = max(n_frames, temporal_patch)
    width, height = size
    if min(width, height) < factor:
        scale = max(factor / height, factor / width)
        width, height = int(width * scale), int(height * scale)
    width, height = min(width, MAX_ASPECT_RATIO * height), min(height, MAX_ASPECT_RATIO * width)
    w, h = round(width / factor) * factor, round(height / factor) * factor
    t = round(n / temporal_patch) * temporal_patch
    if t * w * h > budget.max_pixels:
        shrink = math.sqrt(n * width * height / budget.max_pixels)
        w, h = math.floor(width / shrink / factor) * factor, math.floor(height / shrink / factor) * factor
    elif t * w * h < budget.min_pixels:
        grow = math.sqrt(budget.min_pixels / (n * width * height))
        w, h = math.ceil(width * grow / factor) * factor, math.ceil(height * grow / factor) * factor
    return Size(max(w, factor), max(h, factor))


RESIZED: ByteCache[tuple[str, Size]] = ByteCache(CACHED_BYTES)
"""Pictures at the sizes that models see, by digest and size."""


def resized(picture: Picture, size: Size) -> Pixels:
    """`picture` at `size`, uint8 [H, W, 3], bicubic with antialiasing; read-only and shared."""
    if picture.size == size:
        return picture.pixels
    key = (picture.digest, size)
    pixels = RESIZED.get(key)
    if pixels is None:
        pixels = np.asarray(Image.fromarray(picture.pixels).resize(size, Image.Resampling.BICUBIC))
        RESIZED.put(key, pixels)
    return pixels


class Normalization(NamedTuple):
    """How a vision tower reads a colour channel of 0 to 1: (value - mean) / std, for red, green and blue."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
