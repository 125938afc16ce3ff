"""Rules of laying pictures on each other: a copy differs little everywhere, others much somewhere."""

import numpy as np
from PIL import Image

from pixelreasoner.core.media import Picture
from pixelreasoner.core.perceptual_hash import REGIONS, thumbnail
from pixelreasoner.core.picture_copies import DIFFERENT, largest_difference


def scene() -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(noise).resize((640, 640), Image.Resampling.BICUBIC))


def thumb(pixels: np.ndarray) -> np.ndarray:
    return thumbnail(Picture(np.ascontiguousarray(pixels)))


def test_a_picture_is_its_own_copy():
    assert largest_difference(thumb(scene()), thumb(scene()), REGIONS[0]) == 0


def test_what_was_cut_off_is_found_by_moving_the_sides():
    pixels = scene()
    cut = pixels[20:610, 45:600]  # 3.1 %, 4.7 % and 7.0 %, 6.3 % of the sides
    placed = largest_difference(thumb(pixels), thumb(cut), REGIONS[-1])
    unmoved = np.abs(thumb(pixels).astype(float) - thumb(cut)).mean(axis=2).max()
    assert placed < 12 < unmoved


def test_a_small_sign_makes_another_picture_of_it():
    pixels, signed = scene(), scene()
    dark = signed.mean() > 127
    signed[300:340, 200:240] = 0 if dark else 255  # 2 x 2 of the cells that are compared
    assert largest_difference(thumb(pixels), thumb(signed), REGIONS[0]) > DIFFERENT
