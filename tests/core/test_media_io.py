"""Files in and out. Every file is made here, so that what must come back is known to the pixel."""

import contextlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelreasoner.core import image_formats
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import (
    decode_image,
    encode_png,
    load_image,
    load_media,
    save_image,
)

# ---------------------------------------------------------------------------------------------- images


def noise(width: int, height: int, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(64)))
        + chunk(b"IEND", b"")
    )


def test_a_png_comes_back_to_the_pixel(tmp_path: Path):
    picture = Picture(noise(31, 17))
    save_image(picture, tmp_path / "new" / "a.png")
    assert load_image(tmp_path / "new" / "a.png") == picture
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]


# How to look at a picture whose stored rows and columns follow each EXIF orientation.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, k=-1),
    7: lambda a: np.rot90(a, k=2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, k=1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str):
    path = tmp_path / f"photo{suffix}"
    image = Image.fromarray(noise(24, 16))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    image.save(tmp_path / f"plain{suffix}")
    stored = load_image(tmp_path / f"plain{suffix}").pixels
    assert np.array_equal(load_image(path).pixels, UPRIGHT[orientation](stored))


# Pillow warns of unreadable metadata, as it should.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_broken_exif_does_not_spoil_the_pixels(tmp_path: Path):
    image = Image.fromarray(noise(8, 8))
    image.save(tmp_path / "a.png", exif=b"Exif\0\0II*\0garbage that is no directory")
    assert load_image(tmp_path / "a.png") == Picture(noise(8, 8))


def test_transparency_is_laid_on_white(tmp_path: Path):
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    # The last is black at a fifth: 255 * (1 - 51/255) = 204.
    assert load_image(tmp_path / "a.png").pixels.tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]


def test_a_transparent_palette_colour_is_white(tmp_path: Path):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 255, 0, 128, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert load_image(tmp_path / "a.png").pixels.tolist() == [[[255, 255, 255], [0, 128, 0]]]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bits_become_8(tmp_path: Path, suffix: str):
    Image.fromarray(np.array([[0, 257, 32768, 65535]], np.uint16)).save(tmp_path / f"a{suffix}")
    assert load_image(tmp_path / f"a{suffix}").pixels[0, :, 1].tolist() == [0, 1, 128, 255]


def test_float_samples_are_shares_of_white(tmp_path: Path):
    Image.fromarray(np.array([[0.0, 0.2, 1.0, np.nan]], np.float32)).save(tmp_path / "a.tif")
    assert load_image(tmp_path / "a.tif").pixels[0, :, 0].tolist() == [0, 51, 255, 0]


def test_samples_beyond_white_are_stretched_to_fit(tmp_path: Path):
    Image.fromarray(np.array([[-100, 0, 155]], np.int32)).save(tmp_path / "a.tif")
    assert load_image(tmp_path / "a.tif").pixels[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("L", 77, ".png", (77, 77, 77)),
        ("1", 1, ".png", (255, 255, 255)),
        ("LA", (77, 0), ".png", (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), ".tif", (255, 0, 0)),
        ("P", 5, ".gif", None),
    ],
)
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, colour, suffix: str, expected):
    Image.new(mode, (3, 2), colour).save(tmp_path / f"a{suffix}")
    picture = load_image(tmp_path / f"a{suffix}")
    assert picture.size == (3, 2)
    if expected is not None:
        assert tuple(picture.pixels[1, 2]) == expected


def test_an_animation_is_its_first_frame(tmp_path: Path):
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "lime")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert tuple(load_image(tmp_path / "a.gif").pixels[0, 0]) == (255, 0, 0)


def test_a_bomb_is_refused_from_its_header(tmp_path: Path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(60_000, 60_000))
    with pytest.raises(MediaError, match=r"bomb\.png is too large .*3600000000.* Scale it down"):
        load_media(path)


def test_the_limit_holds_where_pillows_own_is_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "bomb.png").write_bytes(png_header(60_000, 60_000))
    with pytest.raises(MediaError, match="too large"):
        load_image(tmp_path / "bomb.png")
    monkeypatch.setattr(image_formats, "DECODING_BYTES", 99)
    Image.new("RGB", (10, 10)).save(tmp_path / "small.png")
    with pytest.raises(MediaError, match="too large"):
        load_image(tmp_path / "small.png")


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "note.txt").write_text("Not a picture.\n" * 100)
    (tmp_path / "header.png").write_bytes(png_header(30, 30))
    Image.fromarray(noise(64, 64)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    for name, message in {
        "absent.png": "does not exist",
        "empty.png": "is empty",
        "note.txt": "not an image",
        "header.png": "damaged",
        "cut.jpg": "damaged",
        ".": "is a folder",
    }.items():
        with pytest.raises(MediaError, match=message) as e:
            load_image(tmp_path / name)
        assert str(tmp_path / name) in str(e.value)


FORMATS = {"jpeg": ".jpg", "png": ".png", "gif": ".gif", "tiff": ".tif", "webp": ".webp", "bmp": ".bmp"}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@pytest.mark.parametrize("file_format", FORMATS)
def test_damaged_files_never_raise_anything_else(tmp_path: Path, file_format: str, data: st.DataObject):
    path = tmp_path / f"a{FORMATS[file_format]}"
    Image.fromarray(noise(12, 9)).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(MediaError):
        assert isinstance(load_image(path), Picture)


@pytest.mark.parametrize("name", ["a", "a.txt", "a.mp4"])
def test_unknown_suffixes_cannot_be_written(tmp_path: Path, name: str):
    with pytest.raises(MediaError, match="suffix"):
        save_image(Picture(noise(4, 4)), tmp_path / name)


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="cannot be written"):
        save_image(Picture(noise(4, 4)), tmp_path / "file" / "a.png")


def test_a_picture_in_memory_is_read_as_one_in_a_file():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    content = encode_png(Picture(pixels))
    assert decode_image(content, "it") == Picture(pixels)
    with pytest.raises(MediaError, match=r"it \(0 bytes\) is no image"):
        decode_image(b"", "it")
    with pytest.raises(MediaError, match="it is a damaged"):
        decode_image(content[:1000], "it")
