"""Pictures as a server gets them."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.chat.pixels import resized
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import DECODED, Picture
from pixelreasoner.core.media_io import load_image
from pixelreasoner.endpoint.pictures import ENCODED, PictureUrl, picture_part


def photo(path: Path, orientation: int = 1, mode: str = "RGB") -> Picture:
    """A gradient in a JPEG file, 96 x 64 as it is stored."""
    y, x = np.mgrid[:64, :96]
    image = Image.fromarray(np.stack([x * 2, y * 3, x + y], -1).astype(np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, quality=90, exif=exif)
    return load_image(path)


def received(picture: Picture, size: Size | None = None) -> tuple[str, bytes]:
    """The kind of the file that a server gets, and its bytes."""
    url: PictureUrl = picture_part(picture, size)["image_url"]["url"]
    head, _, content = bytes(url.content()).decode("ascii").partition(",")
    assert head.startswith("data:image/")
    assert head.endswith(";base64")
    return head.removeprefix("data:image/").removesuffix(";base64"), base64.b64decode(content)


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_a_picture_made_here_keeps_every_pixel():
    picture = Picture(np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8))
    kind, content = received(picture)
    assert kind == "png"
    assert np.array_equal(pixels(content), picture.pixels)
    kind, content = received(picture, Size(20, 15))
    assert np.array_equal(pixels(content), resized(picture, Size(20, 15)))


def test_a_photograph_at_its_own_size_is_sent_as_its_file(tmp_path: Path):
    picture = photo(tmp_path / "a.jpg")
    assert received(picture) == ("jpeg", (tmp_path / "a.jpg").read_bytes())


@pytest.mark.parametrize(("orientation", "mode"), [(6, "RGB"), (3, "RGB"), (1, "CMYK")])
def test_a_file_that_readers_may_see_differently_is_encoded_anew(tmp_path: Path, orientation: int, mode: str):
    path = tmp_path / "a.jpg"
    picture = photo(path, orientation, mode)
    kind, content = received(picture)
    assert kind == "jpeg"
    assert content != path.read_bytes()
    assert Image.open(io.BytesIO(content)).getexif().get(0x0112, 1) == 1
    assert np.abs(pixels(content) - picture.pixels).mean() < 2


def test_a_smaller_photograph_and_a_part_of_one_are_jpeg(tmp_path: Path):
    picture = photo(tmp_path / "a.jpg")
    for shown, size in ((picture, Size(48, 32)), (picture.crop(10, 10, 42, 42), Size(32, 32))):
        kind, content = received(shown, size)
        assert kind == "jpeg"
        assert np.abs(pixels(content) - resized(shown, size)).mean() < 2


def test_a_picture_is_known_by_its_content_and_size(tmp_path: Path):
    array = np.zeros((30, 40, 3), np.uint8)
    one, same = (picture_part(Picture(array.copy()))["image_url"]["url"] for _ in range(2))
    smaller = picture_part(Picture(array), Size(20, 15))["image_url"]["url"]
    assert one.key == same.key
    assert one.key != smaller.key


def test_a_photograph_that_was_changed_meanwhile_is_refused(tmp_path: Path):
    picture = photo(tmp_path / "a.jpg")
    assert picture.digest
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(tmp_path / "a.jpg")
    DECODED.clear()
    ENCODED.clear()
    with pytest.raises(MediaError, match="changed"):
        received(picture)
