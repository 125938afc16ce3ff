"""Rules of the pictures of a page: exact when small, scaled down when large, enlarged to be legible."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import load_image, peek_image
from pixelreasoner.viewer.pictures import Mark, PictureFiles, data_uri, figure, mark


def decode(uri: str) -> tuple[str, Image.Image]:
    head, data = uri.split(",", 1)
    return head, Image.open(io.BytesIO(base64.b64decode(data)))


def noise(width: int, height: int) -> Picture:
    return Picture(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def test_a_small_picture_is_inlined_exactly():
    picture = noise(60, 40)
    head, image = decode(data_uri(figure(picture, longest=250)))
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(image.convert("RGB")), picture.pixels)


def test_a_large_picture_is_scaled_down_with_its_aspect_ratio_kept():
    head, image = decode(data_uri(figure(noise(2000, 1000), longest=200)))
    assert head == "data:image/jpeg;base64"
    assert image.size == (400, 200)


def test_a_small_crop_is_shown_enlarged_with_square_pixels():
    small, large = figure(noise(38, 19), longest=380), figure(noise(1520, 760), longest=380)
    assert (small.display_width, small.enlarged) == (380, True)
    assert (large.display_width, large.enlarged) == (380, False)
    assert figure(noise(20, 40), longest=380).display_width == 190


def test_a_mark_stays_inside_its_picture():
    assert mark("cue", "", Box(-10, 5, 50, 30), Size(40, 20)) == Mark("cue", "", 0, 25, 100, 75)


def test_a_picture_is_one_file_however_often_it_is_shown(tmp_path: Path):
    picture, other = noise(300, 200), noise(60, 40)
    with PictureFiles(tmp_path) as files:
        uris = [files.uri(figure(p, longest=side)) for p in (picture, other, picture) for side in (720, 150)]
    assert uris[:2] == [f"{tmp_path.name}/{picture.digest}-300x200.jpeg"] * 2
    assert uris[2:4] == [f"{tmp_path.name}/{other.digest}-60x40.png"] * 2
    assert {f.name for f in tmp_path.iterdir()} == files.names
    assert len(files.names) == 2
    assert load_image(tmp_path / f"{other.digest}-60x40.png") == other


def test_a_picture_is_written_in_each_size_it_is_shown_in(tmp_path: Path):
    picture = noise(1000, 500)
    with PictureFiles(tmp_path) as files:
        for side in (400, 200):
            files.uri(figure(picture, longest=side))
    assert {load_image(tmp_path / name).size for name in files.names} == {(800, 400), (400, 200)}


def test_a_picture_that_cannot_be_read_is_told(tmp_path: Path):
    Image.fromarray(noise(300, 200).pixels).save(tmp_path / "photo.png")
    picture = peek_image(tmp_path / "photo.png", "0" * 32)
    with pytest.raises(MediaError, match="was changed"), PictureFiles(tmp_path) as files:
        files.uri(figure(picture, longest=100))
