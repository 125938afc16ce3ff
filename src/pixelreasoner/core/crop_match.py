"""Whether a picture shows a region of another one, and which: compared small, whatever sizes they have.

Brightness alone is compared: JPEG keeps colours coarsely. What differs is measured against the contrast of
the region: text that is shifted by a letter differs as much as it could, a photograph of sky by nearly
nothing. `python -m benchmarks regions` measures which shifts are seen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.media import Picture

CELLS = 48
"""Of the longer side, that are compared."""
SAME_WITHIN = 2.0
"""The mean difference of a cell, of 255, up to which two pictures are the same whatever they show."""
SAME_SHARE = 0.25
"""And its share in the region's contrast."""
SEARCH_CELLS = 64
"""Of the longer side of what is searched for."""
LONGEST_SEARCH = 1500
"""Cells of a picture's side that are searched at most."""

Field = npt.NDArray[np.float32]


def shows_region(picture: Picture, region: tuple[int, int, int, int], crop: Picture) -> bool:
    """Whether a crop shows a region of a picture, whatever the size it has.

    Args:
        picture: the original.
        region: left, top, right, bottom, in its pixels; at least one pixel, none outside.
        crop: that is said to be cut from it.

    Raises:
        MediaError: one of the two cannot be decoded.
    """
    width, height = region[2] - region[0], region[3] - region[1]
    scale = min(1.0, CELLS / max(width, height))
    size = Size(max(1, round(width * scale)), max(1, round(height * scale)))
    left, top, right, bottom = region
    ours = _small(Image.fromarray(picture.pixels[top:bottom, left:right]), size)
    return is_same(ours, _small(Image.fromarray(crop.pixels), size))


def is_same(region: Field, crop: Field) -> bool:
    """Whether two pictures of one size, [H, W], differ no more than copies do."""
    contrast = float(np.abs(region - region.mean()).mean())
    return float(np.abs(region - crop).mean()) <= max(SAME_WITHIN, SAME_SHARE * contrast)


def find_region(picture: Picture, size: Size, crop: Picture) -> Box | None:
    """Where a crop of a known size was cut from a picture, in its pixels; None where it is nowhere in it.

    The place is exact to about a fiftieth of the crop's longer side.

    Args:
        picture: the original.
        size: of the region, in its pixels.
        crop: what is looked for, at whatever size.

    Raises:
        MediaError: one of the two cannot be decoded.
    """
    scale = min(1.0, SEARCH_CELLS / max(size), LONGEST_SEARCH / max(picture.size))
    whole = Size(round(picture.size.width * scale), round(picture.size.height * scale))
    part = Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))
    if part.width > whole.width or part.height > whole.height:
        return None
    x, y = _best_place(
        _small(Image.fromarray(picture.pixels), whole),
        _small(Image.fromarray(crop.pixels), part),
    )
    step = max(1, round(0.25 / scale))
    limits = picture.size.width - size.width, picture.size.height - size.height
    near = range(-4 * step, 4 * step + 1, step)
    places = {
        (min(max(round(x / scale) + dx, 0), limits[0]), min(max(round(y / scale) + dy, 0), limits[1]))
        for dx in near
        for dy in near
    }
    target = _small(Image.fromarray(crop.pixels), part)
    left, top = min(sorted(places), key=lambda at: _difference(picture, at, size, target))
    bounds = left, top, left + size.width, top + size.height
    return Box(*bounds) if shows_region(picture, bounds, crop) else None


def _difference(picture: Picture, at: tuple[int, int], size: Size, target: Field) -> float:
    x, y = at
    region = picture.pixels[y : y + size.height, x : x + size.width]
    small = _small(Image.fromarray(region), Size(target.shape[1], target.shape[0]))
    return float(np.abs(small - target).mean())


def _best_place(whole: Field, part: Field) -> tuple[int, int]:
    """Where a part [h, w] differs least from a field [H, W] that it lies in: x and y.

    The squared difference at all places at once, by the convolution theorem.
    """
    height, width = part.shape
    shape = whole.shape
    # Around the mean, so that the numbers are small enough for the transform.
    middle = float(whole.mean())
    field, sought = whole.astype(np.float64) - middle, part.astype(np.float64) - middle
    product = np.fft.irfft2(np.fft.rfft2(field) * np.conj(np.fft.rfft2(sought, shape)), shape)
    sums = np.pad(field**2, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    energy = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    difference = energy - 2 * product[: energy.shape[0], : energy.shape[1]]
    y, x = np.unravel_index(int(difference.argmin()), difference.shape)
    return int(x), int(y)


def _small(image: Image.Image, size: Size) -> Field:
    """[H, W], the brightness at a size; what is made smaller is averaged."""
    return np.asarray(image.convert("L").resize(size, Image.Resampling.BILINEAR), np.float32)
