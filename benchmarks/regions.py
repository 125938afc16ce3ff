"""Whether a crop shows the region it is said to: shifts that are seen, copies that are taken for others.

Crops of drawn pages, of PixelWorld's pictures and of photographs are scaled by 0.35 to 2.5, most are kept as
JPEG of a quality from 50 to 95, and are compared with a region they were cut from, or shifted off.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.pages import make_page
from pixelreasoner.core.crop_match import find_region, shows_region
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.intervals import wilson_interval
from pixelreasoner.core.media import Picture, pictures_of
from pixelreasoner.tasks.pixelworld.source import pixelworld

Measured = dict[str, Any]
SHIFTS = (0.0, 0.05, 0.1, 0.25, 1.0)
"""In sides of the region, in a random direction."""
SIDES = (0.08, 0.5)
"""Of a region, in sides of its picture."""
LEAST_PX = 28
SCALES = (0.35, 2.5)
QUALITIES = (50, 95)
PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")
RESAMPLING = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
Bounds = tuple[int, int, int, int]


def run(n: int, *, seed: int = 0) -> Iterator[Measured]:
    """For each kind of picture and each shift, the share of crops taken for the region.

    Args:
        n: regions of each kind of picture.
        seed: of the regions, the shifts and the copies.
    """
    for kind, pictures in _pictures(n).items():
        rng = np.random.default_rng(seed)
        tried: dict[float, list[bool]] = {shift: [] for shift in SHIFTS}
        placed: list[bool] = []
        for i in range(n):
            picture = pictures[i % len(pictures)]
            region = _region(picture.size, rng)
            moved, crop = region, picture
            for shift in SHIFTS:
                moved = _moved(region, shift, picture.size, rng)
                crop = _copy(picture, moved, rng)
                if shift == 0 or moved != region:
                    tried[shift].append(shows_region(picture, region, crop))
            placed.append(_is_found(picture, moved, crop))
        for shift, same in tried.items():
            yield {"kind": "regions", "of": kind, "shift": shift, **_share("taken_for_the_region", same)}
        yield {"kind": "places", "of": kind, **_share("found_within_4_percent", placed)}


def _pictures(n: int) -> dict[str, list[Picture]]:
    from skimage import data

    tasks = pixelworld(split="test", seed=1).take(0, n)
    return {
        "pages": [make_page(i).picture for i in range(min(n, 40))],
        "PixelWorld": [next(iter(pictures_of(task.media))) for task in tasks],
        "photographs": [Picture(np.ascontiguousarray(getattr(data, name)())) for name in PHOTOS],
    }


def _region(size: Size, rng: np.random.Generator) -> Bounds:
    width, height = (max(LEAST_PX, int(rng.uniform(*SIDES) * side)) for side in size)
    left, top = int(rng.integers(size.width - width + 1)), int(rng.integers(size.height - height + 1))
    return left, top, left + width, top + height


def _moved(region: Bounds, shift: float, size: Size, rng: np.random.Generator) -> Bounds:
    """The region moved, within the picture; where it meets an edge, the other way."""
    left, top, right, bottom = region
    width, height = right - left, bottom - top
    angle = rng.uniform(0, 2 * np.pi)
    steps = round(np.cos(angle) * width * shift), round(np.sin(angle) * height * shift)
    (x, y), limits = (left, top), (size.width - width, size.height - height)
    x = x + steps[0] if 0 <= x + steps[0] <= limits[0] else max(0, min(limits[0], x - steps[0]))
    y = y + steps[1] if 0 <= y + steps[1] <= limits[1] else max(0, min(limits[1], y - steps[1]))
    return x, y, x + width, y + height


def _copy(picture: Picture, region: Bounds, rng: np.random.Generator) -> Picture:
    image = Image.fromarray(picture.crop(*region).pixels)
    scale = float(np.exp(rng.uniform(*np.log(SCALES))))
    size = max(4, round(image.width * scale)), max(4, round(image.height * scale))
    image = image.resize(size, RESAMPLING[int(rng.integers(len(RESAMPLING)))])
    if rng.random() < 0.7:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(*QUALITIES)))
        image = Image.open(buffer).convert("RGB")
    return Picture(np.asarray(image))


def _is_found(picture: Picture, region: Bounds, crop: Picture) -> bool:
    left, top, right, bottom = region
    size = Size(right - left, bottom - top)
    found = find_region(picture, size, crop)
    near = 0.04 * max(size)
    return found is not None and abs(found.x1 - left) <= near and abs(found.y1 - top) <= near


def _share(name: str, values: list[bool]) -> Measured:
    share, n = sum(values) / len(values), len(values)
    low, high = wilson_interval(share, n)
    return {"n": n, name: round(share, 4), f"{name}_interval": [round(low, 4), round(high, 4)]}
