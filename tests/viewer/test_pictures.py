"""Rules of inlined pictures: exact when small, scaled down when large, enlarged to be legible."""

import base64
import io

import numpy as np
from PIL import Image

from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.media import Picture
from pixelreasoner.viewer.pictures import Mark, data_uri, figure, mark


def decode(uri: str) -> tuple[str, Image.Image]:
    head, data = uri.split(",", 1)
    return head, Image.open(io.BytesIO(base64.b64decode(data)))


def noise(width: int, height: int) -> Picture:
    return Picture(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def test_a_small_picture_is_inlined_exactly():
    picture = noise(60, 40)
    head, image = decode(data_uri(picture, max_side=500))
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(image.convert("RGB")), picture.pixels)


def test_a_large_picture_is_scaled_down_with_its_aspect_ratio_kept():
    head, image = decode(data_uri(noise(2000, 1000), max_side=400))
    assert head == "data:image/jpeg;base64"
    assert image.size == (400, 200)


def test_a_small_crop_is_shown_enlarged_with_square_pixels():
    small, large = figure(noise(38, 19), longest=380), figure(noise(1520, 760), longest=380)
    assert (small.display_width, small.enlarged) == (380, True)
    assert (large.display_width, large.enlarged) == (380, False)
    assert figure(noise(20, 40), longest=380).display_width == 190


def test_a_mark_stays_inside_its_picture():
    assert mark("cue", "", Box(-10, 5, 50, 30), Size(40, 20)) == Mark("cue", "", 0, 25, 100, 75)
