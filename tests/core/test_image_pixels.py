"""Decoded images as upright RGB; Pillow's conversion of the whole image at once is the reference."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.core import image_pixels
from pixelreasoner.core.image_pixels import rgb
from pixelreasoner.core.media_io import load_image


def chunk(tag: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def png(depth: int, colour: int, samples: list[list[int]], *extra: bytes) -> bytes:
    """A PNG whose rows hold these samples, of 8 or 16 bits."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    rows = b"".join(b"\0" + struct.pack(f">{len(r)}{'H' if depth == 16 else 'B'}", *r) for r in samples)
    head = struct.pack(">IIBBBBB", len(samples[0]) // channels, len(samples), depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def read(tmp_path: Path, content: bytes) -> list:
    (tmp_path / "a.png").write_bytes(content)
    return load_image(tmp_path / "a.png").pixels.tolist()


@pytest.mark.parametrize(("depth", "grey", "other", "seen"), [(8, 7, 9, 9), (16, 1000, 0x8000, 128)])
def test_a_transparent_level_of_grey_is_white(tmp_path: Path, depth, grey, other, seen):
    """I5: 16 bits as 8 bits."""
    content = png(depth, 0, [[grey, other]], chunk(b"tRNS", struct.pack(">H", grey)))
    assert read(tmp_path, content) == [[[255] * 3, [seen] * 3]]


@pytest.mark.parametrize(("depth", "colour"), [(8, (200, 30, 60)), (16, (0xC812, 0x1E34, 0x3C56))])
def test_a_transparent_colour_is_white(tmp_path: Path, depth, colour):
    """A neighbour of I5."""
    shift = depth - 8
    content = png(depth, 2, [[*colour, 0, 0, 255 << shift]], chunk(b"tRNS", struct.pack(">3H", *colour)))
    assert read(tmp_path, content) == [[[255] * 3, [0, 0, 255]]]


def test_16_bits_with_alpha_are_laid_on_white(tmp_path: Path):
    clear, half, solid = [0, 0, 0, 0], [0, 0, 0, 0x8080], [0xFFFF, 0, 0, 0xFFFF]
    assert read(tmp_path, png(16, 6, [clear + half + solid])) == [[[255] * 3, [127] * 3, [255, 0, 0]]]
    assert read(tmp_path, png(16, 4, [[0, 0, 0x8080, 0xFFFF]])) == [[[255] * 3, [128] * 3]]


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "F"]
)
def test_strips_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch, mode: str):
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (23, 17, 3), dtype=np.uint8))
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 65536, (23, 17), dtype=np.uint16))
    elif mode == "P":
        image = image.quantize(9)
        image.info["transparency"] = 2
    else:
        image = image.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(random.integers(0, 256, (23, 17), dtype=np.uint8)))
    whole = rgb(image)
    monkeypatch.setattr(image_pixels, "STRIP_PIXELS", 40)
    assert np.array_equal(rgb(image), whole)
    if mode in ("1", "L", "RGB", "CMYK", "YCbCr"):
        assert np.array_equal(whole, np.asarray(image.convert("RGB")))


def test_samples_are_stretched_over_all_strips(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image_pixels, "STRIP_PIXELS", 1)
    image = Image.fromarray(np.array([[-100], [0], [155]], np.int32))
    assert rgb(image)[:, 0, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_an_orientation_told_in_xmp_alone_counts(tmp_path: Path, suffix: str):
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    image = Image.new("RGB", (24, 16))
    image.paste("white", (0, 0, 24, 8))
    if suffix == ".png":
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(tmp_path / "a.png", pnginfo=text)
    else:
        image.save(tmp_path / f"a{suffix}", xmp=xmp, quality=95)
    picture = load_image(tmp_path / f"a{suffix}")
    assert picture.size == (16, 24)
    # A quarter turn clockwise: the top goes to the right.
    assert picture.pixels[:, 10:].mean() > 240
    assert picture.pixels[:, :6].mean() < 15
