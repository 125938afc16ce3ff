"""The crop operation of the released PixelReasoner checkpoints."""

from __future__ import annotations

import numpy as np
import pytest

from pixelreasoner.core.errors import ConfigError, OperationError
from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.media import Picture
from pixelreasoner.ops.crop_normalized import CropImageNormalized
from pixelreasoner.ops.image_context import DisplayedImage, ImageContext

PHOTO = Picture(np.arange(200 * 400 * 3, dtype=np.uint32).astype(np.uint8).reshape(200, 400, 3))
SHOWN = DisplayedImage(PHOTO, Size(200, 100))
"""400 x 200 pixels, shown at half their size."""
CONTEXT = ImageContext((SHOWN,), shown_size=lambda picture: Size(56, 28))
crop = CropImageNormalized("{index} {target} {width}x{height} as {shown_width}x{shown_height}")


def at(box):
    return crop({"bbox_2d": box, "target_image": 1}, CONTEXT)


def test_a_tenth_of_the_image_is_added_on_every_side():
    seen = at([0.3, 0.4, 0.5, 0.6])
    assert seen.box == Box(80, 60, 240, 140)  # 0.2 to 0.6 of 400, 0.3 to 0.7 of 200
    assert seen.images == (PHOTO.crop(80, 60, 240, 140),)
    assert seen.text == "2 1 160x80 as 56x28"
    assert seen.source == 1


def test_the_margin_ends_where_the_image_does():
    assert at([0.0, 0.05, 0.95, 0.99]).box == Box(0, 0, 400, 200)
    assert at([-3, -3, 0.5, 0.5]).box == Box(0, 0, 240, 120)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # Pixels of the image as shown: 50 of 200 is a quarter.
        ([50, 40, 100, 60], Box(60, 60, 240, 140)),
        ([0.5, 0.5, 100, 60], Box(0, 0, 240, 140)),
        # A box of fractions that touches the edge is one of pixels, too: a pixel and the margins.
        ([0.5, 0.5, 1.0, 1.0], Box(0, 0, 42, 22)),
    ],
)
def test_a_number_from_1_on_makes_all_of_them_pixels(box, expected):
    seen = CropImageNormalized("", min_side_px=1)({"bbox_2d": box, "target_image": 1}, CONTEXT)
    assert seen.box == expected


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ([0.5, 0.5, 0.5, 0.6], "no area"),
        ([0.6, 0.5, 0.5, 0.6], "no area"),
        ([900, 900, 950, 950], "only 0x0 pixels"),
        ([0.5, 0.5, 1.0, 1.0], "only 42x22 pixels.*at least 29x29"),
        ([1, 2, 3], "4 numbers"),
        ([1, 2, 3, "4"], "y2 of bbox_2d must be a number"),
        ("x", "must be a list"),
    ],
)
def test_what_cannot_be_cut_is_explained(box, says):
    with pytest.raises(OperationError, match=says):
        at(box)


def test_a_reply_with_an_unknown_field():
    with pytest.raises(ConfigError, match="reply to a crop"):
        CropImageNormalized("{size}")
