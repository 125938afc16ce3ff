"""Rules of the hashes of pictures: copies are near, and what each bit is."""

import numpy as np
from PIL import Image

from pixelreasoner.core.media import Picture
from pixelreasoner.core.perceptual_hash import (
    CUT,
    GRID,
    RADIUS,
    REGIONS,
    distances,
    region_hashes,
    thumbnail,
)


def scene(seed: int, size: int = 256) -> np.ndarray:
    """Smooth colours, as photographs have them: noise of 8 x 8 cells, enlarged."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC))


def hashes(pixels: np.ndarray) -> np.ndarray:
    found = region_hashes(thumbnail(Picture(np.ascontiguousarray(pixels))))
    assert found is not None
    return found


def test_the_bits_of_the_whole_are_signs_of_cosine_coefficients_less_their_median():
    thumb = thumbnail(Picture(scene(0, GRID)))
    brightness = thumb.astype(float) @ [0.299, 0.587, 0.114]
    # The mean of a cosine over a cell is its value in the middle, times a number near 1 that depends on the
    # order alone.
    middles = (np.arange(GRID) + 0.5) / GRID
    waves = np.array([np.cos(np.pi * k * middles) * np.sinc(k / (2 * GRID)) for k in range(1, 9)])
    coefficients = waves @ brightness @ waves.T
    bits = (coefficients > np.median(coefficients)).ravel()
    found = region_hashes(thumb)
    assert found is not None
    assert np.array_equal(np.unpackbits(found[:1].view(np.uint8)).astype(bool), bits)


def test_a_region_has_the_hash_of_what_is_left_when_the_rest_is_cut_off():
    size = 640
    pixels = scene(1, size)
    parts = hashes(pixels)
    for (left, right, top, bottom), part in zip(REGIONS, parts, strict=True):
        cut = pixels[int(top * size) : int(bottom * size), int(left * size) : int(right * size)]
        assert distances(hashes(cut)[:1], np.array([part]))[0] <= 2


def test_scaled_copies_are_near_and_other_pictures_are_not():
    pixels = scene(2, 512)
    small = np.asarray(Image.fromarray(pixels).resize((200, 150), Image.Resampling.LANCZOS))
    assert distances(hashes(pixels)[:1], hashes(small)[:1])[0] <= 4
    others = np.stack([hashes(scene(seed))[0] for seed in range(10, 40)])
    assert distances(others, hashes(pixels)[:1]).min() > RADIUS


def test_a_flat_picture_has_no_hash():
    assert region_hashes(thumbnail(Picture(np.full((90, 120, 3), 200, np.uint8)))) is None


def test_distances_count_bits():
    a = np.array([0, 2**64 - 1, 0b1011], np.uint64)
    assert distances(a, np.array([0], np.uint64)).tolist() == [0, 64, 3]


def test_regions_begin_with_the_whole_and_none_lacks_more_than_it_says():
    assert REGIONS[0] == (0, 1, 0, 1)
    assert len(set(REGIONS)) == 16
    assert {value for region in REGIONS for value in region} == {0, CUT, 1 - CUT, 1}
