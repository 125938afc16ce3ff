"""Which images are read, and what they may cost."""

import io
import os
import socket
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.core import image_formats
from pixelreasoner.core.errors import MediaError, MissingExtraError
from pixelreasoner.core.image_formats import BYTES_PER_PIXEL, read_suffixes
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import load_image, load_media


def heic(image: Image.Image) -> bytes:
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=100)
    return buffer.getvalue()


def test_a_heic_photo_is_one_picture_of_its_size(tmp_path: Path):
    """V1: not a tile of 64x100, and not a video."""
    smooth = np.broadcast_to(np.linspace(0, 255, 29).astype(np.uint8)[None, :, None], (100, 29, 3))
    (tmp_path / "small.heic").write_bytes(heic(Image.fromarray(np.ascontiguousarray(smooth))))
    picture = load_media(tmp_path / "small.heic")
    assert isinstance(picture, Picture)
    assert picture.size == (29, 100)
    assert np.abs(picture.pixels.astype(int) - smooth).mean() < 4


def test_a_heic_photo_without_its_reader_is_an_instruction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """V1."""
    (tmp_path / "a.jpg").write_bytes(heic(Image.new("RGB", (64, 64))))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(
        MissingExtraError, match=r"HEIC.*convert it to JPEG.*pip install 'pixelreasoner\[heif\]'"
    ):
        load_media(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", [".avif", ".mpo", ".jp2", ".ico", ".tga", ".qoi", ".sgi", ".dds"])
def test_other_formats_are_pictures(tmp_path: Path, suffix: str):
    """AVIF and MPO, and others: one picture each."""
    image = Image.new("RGB", (48, 48), (200, 30, 60))
    options = {"save_all": True, "append_images": [image]} if suffix == ".mpo" else {}
    image.save(tmp_path / f"a{suffix}", **options)
    picture = load_media(tmp_path / f"a{suffix}")
    assert isinstance(picture, Picture)
    assert picture.size == (48, 48)
    assert np.abs(picture.pixels[20, 20].astype(int) - (200, 30, 60)).max() < 6


def test_formats_that_run_programs_are_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.eps")
    monkeypatch.setattr("subprocess.check_call", None)
    with pytest.raises(MediaError, match="PostScript"):
        load_media(tmp_path / "a.eps")
    assert not {"EPS", "WMF", "ICNS", "PDF", "MPEG", "HDF5"} & BYTES_PER_PIXEL.keys()


def test_the_suffixes_of_frames_are_those_of_formats_that_are_read():
    """I9."""
    assert {".png", ".jpg", ".webp", ".tif", ".heic"} <= read_suffixes()
    assert not {".pdf", ".mpg", ".h5", ".eps", ".txt"} & read_suffixes()


def test_stray_files_in_a_folder_of_frames_are_no_frames(tmp_path: Path):
    """I9."""
    for i in range(3):
        Image.new("RGB", (10, 10), (i, 0, 0)).save(tmp_path / f"{i}.png")
    for stray in ("notes.pdf", "clip.mpg", "data.h5", "figure.eps"):
        (tmp_path / stray).write_bytes(b"not a frame")
        assert len(load_media(tmp_path).frames) == 3


def test_a_tiff_is_refused_for_its_tiles_however_small_the_picture(tmp_path: Path):
    Image.new("L", (64, 64)).save(tmp_path / "a.tif", compression="tiff_lzw")
    tags = {256: 64, 257: 64, 258: 8, 259: 5, 262: 1, 277: 1, 322: 90_000, 323: 90_000, 324: 400, 325: 100}
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    content = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + body
    (tmp_path / "bomb.tif").write_bytes(content.ljust(900, b"\0"))
    assert load_image(tmp_path / "a.tif").size == (64, 64)
    with pytest.raises(MediaError, match="90000x90000"):
        load_image(tmp_path / "bomb.tif")


def test_an_icon_is_refused_for_the_png_within(tmp_path: Path):
    buffer = io.BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, format="PNG")
    png = buffer.getvalue()
    entry = struct.pack("<HHHBBBBHHII", 0, 1, 1, 32, 32, 0, 0, 1, 32, len(png), 22)
    (tmp_path / "a.ico").write_bytes(entry + png)
    with pytest.raises(MediaError, match="9000x9000"):
        load_image(tmp_path / "a.ico")


@pytest.mark.parametrize("tag", [(254, 1), (50706, 0x00000401)])
def test_a_raw_photo_is_not_its_preview(tmp_path: Path, tag: tuple[int, int]):
    """DNG, NEF and ARW are TIFF files that begin with a small picture."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[tag[0]] = tag[1]
    tags.tagtype[tag[0]] = 4
    Image.new("RGB", (16, 12)).save(tmp_path / "photo.dng", format="TIFF", tiffinfo=tags)
    with pytest.raises(MediaError, match=r"raw photo.*develop it to JPEG"):
        load_media(tmp_path / "photo.dng")


def test_webp_is_refused_before_its_decoder_allocates_the_canvas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Image.new("RGB", (300, 200)).save(tmp_path / "a.webp", lossless=True)
    Image.new("RGB", (300, 200)).save(tmp_path / "lossy.webp")
    Image.new("RGBA", (300, 200)).save(
        tmp_path / "extended.webp", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"
    )
    monkeypatch.setattr(image_formats, "DECODING_BYTES", 300 * 200 * 18)
    Image.init()
    monkeypatch.setitem(Image.OPEN, "WEBP", (None, Image.OPEN["WEBP"][1]))
    for name in ("a.webp", "lossy.webp", "extended.webp"):
        with pytest.raises(MediaError, match="300x200"):
            load_image(tmp_path / name)


@pytest.mark.parametrize(("progressive", "fits"), [(False, True), (True, False)])
def test_a_progressive_jpeg_costs_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progressive, fits):
    Image.new("RGB", (200, 200)).save(tmp_path / "a.jpg", progressive=progressive)
    monkeypatch.setattr(image_formats, "DECODING_BYTES", 200 * 200 * 8 + (tmp_path / "a.jpg").stat().st_size)
    if fits:
        assert load_image(tmp_path / "a.jpg").size == (200, 200)
    else:
        with pytest.raises(MediaError, match="too large"):
            load_image(tmp_path / "a.jpg")


def test_a_damaged_header_is_told_as_damage(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(MediaError, match="damaged"):
        load_media(tmp_path / "a.png")


# ------------------------------------------------------------------------------ what is no plain file


def test_pipes_sockets_and_devices_are_named(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.png"))
        for name, what in (("pipe.mp4", "a named pipe"), ("s.png", "a socket"), ("device.jpg", "a device")):
            with pytest.raises(MediaError, match=f"{what}, and only plain files are read"):
                load_media(tmp_path / name)


def test_names_that_lead_nowhere_are_told_in_one_line(tmp_path: Path):
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    (tmp_path / "two\nlines\x1b[31m.png").write_bytes(b"\x89PNG")
    for name, message in {
        "circle.png": "cannot be read",
        "x" * 300: r"\.\.\. cannot be read \(File name too long\)",
        "a\0b.png": "cannot be read",
        "gone.png": "does not exist",
        "two\nlines\x1b[31m.png": r"two lines \[31m\.png is a damaged image",
    }.items():
        with pytest.raises(MediaError, match=message) as e:
            load_media(tmp_path / name)
        assert str(e.value).isprintable()


@pytest.mark.parametrize(
    "address", ["https://example.com/a.jpg", "rtsp://camera/1", "HTTP://example.com/a.mp4"]
)
def test_addresses_are_not_fetched(address: str):
    for given in (address, Path(address)):  # a path loses one of the slashes
        with pytest.raises(MediaError, match="is an address, and addresses are not fetched; download"):
            load_media(given)
