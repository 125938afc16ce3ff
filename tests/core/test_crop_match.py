"""Whether a crop shows the region it claims: copies in other sizes are the same, shifted ones are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.core.crop_match import find_region, shows_region
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Picture

REGION = (120, 80, 240, 170)


@pytest.fixture(scope="module")
def scene() -> Picture:
    """Smooth colours with structure at several scales, 400x300."""
    rng = np.random.default_rng(5)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((400, 300)), np.float32
        )
        for n in (6, 24, 80)
    ]
    return Picture(np.clip(sum(layers) / 3, 0, 255).astype(np.uint8))


def cut(picture: Picture, box: tuple[int, int, int, int], scale: float = 1.0, quality: int = 0) -> Picture:
    image = Image.fromarray(picture.crop(*box).pixels)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    if quality:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        image = Image.open(buffer).convert("RGB")
    return Picture(np.asarray(image))


@pytest.mark.parametrize(("scale", "quality"), [(1, 0), (0.5, 0), (2.3, 0), (1, 60), (0.5, 75)])
def test_a_copy_is_the_region_at_any_size_and_as_jpeg(scene, scale, quality):
    assert shows_region(scene, REGION, cut(scene, REGION, scale, quality))


@pytest.mark.parametrize(("dx", "dy"), [(12, 0), (0, 9), (-30, 0), (160, 100)])
def test_a_shifted_crop_is_not_the_region_and_its_place_is_found(scene, dx, dy):
    """From a tenth of a side on; the place is exact to a fiftieth of the longer side, 2.4 pixels."""
    moved = (REGION[0] + dx, REGION[1] + dy, REGION[2] + dx, REGION[3] + dy)
    crop = cut(scene, moved, 1.5, 80)
    assert not shows_region(scene, REGION, crop)
    found = find_region(scene, Size(120, 90), crop)
    assert found is not None
    assert (found.width, found.height) == (120, 90)
    assert abs(found.x1 - moved[0]) <= 3
    assert abs(found.y1 - moved[1]) <= 3


def test_a_place_at_each_edge_is_found(scene):
    for box in ((0, 0, 60, 60), (340, 0, 400, 60), (0, 240, 60, 300), (340, 240, 400, 300), (0, 0, 400, 300)):
        found = find_region(scene, Size(box[2] - box[0], box[3] - box[1]), cut(scene, box))
        assert found is not None
        assert (abs(found.x1 - box[0]), abs(found.y1 - box[1])) <= (2, 2)


def test_what_is_nowhere_in_the_picture_is_not_found(scene, picture):
    other = picture(60, 60, 9)
    assert find_region(scene, Size(60, 60), other) is None
    assert find_region(scene, Size(500, 60), other) is None, "larger than the picture"


def test_a_plain_region_looks_like_any_other_of_its_colour():
    plain = Picture(np.full((100, 100, 3), 200, np.uint8))
    assert shows_region(plain, (0, 0, 30, 30), plain.crop(50, 50, 80, 80))
    assert not shows_region(plain, (0, 0, 30, 30), Picture(np.full((30, 30, 3), 190, np.uint8)))
