"""The image formats that are read, what they cost, and how a file's header is opened.

Only these are tried: Pillow has readers of formats that run other programs (EPS), that hold pictures of any
size in others (ICNS), or that are hardly a picture's.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from PIL import Image

from pixelreasoner.core.errors import MediaError, MissingExtraError
from pixelreasoner.core.file_kinds import HEAD_BYTES, is_heif
from pixelreasoner.core.media_limits import DECODING_BYTES, MAX_FILE_BYTES, Watch, WatchedBytes, WatchedPath

BYTES_PER_PIXEL = {
    "PNG": 8, "JPEG": 8, "MPO": 8, "GIF": 9, "BMP": 12, "DIB": 12, "PPM": 12, "PCX": 8, "SGI": 16, "QOI": 16,
    "DDS": 16, "PSD": 8, "ICO": 12, "XBM": 8, "TGA": 8, "TIFF": 16, "WEBP": 18, "AVIF": 20, "JPEG2000": 26,
    "HEIF": 16,
}  # fmt: skip
"""What decoding takes at its peak, in bytes per pixel, the 3 of the result included: the formats (Pillow's
names) that are read. Measured by `python -m benchmarks hostile-media`; Pillow itself keeps 4 for RGB."""
PROGRESSIVE_BYTES = 16
"""The same for a progressive JPEG, whose decoder keeps the coefficients of all scans."""
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats whose further pictures are moments; those of others are pages, sizes or views."""

# Pillow reports some damage to its log too, which Python shows where nobody else does.
logging.getLogger("PIL").addHandler(logging.NullHandler())

# What begins so is such a file, damaged or not. TGA and a few others have no such mark.
_MARKS = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"II*\0",
    b"MM\0*",
    b"BM",
    b"\0\0\0\x0cjP  ",
    b"8BPS",
    b"qoif",
    b"DDS ",
)
# What Pillow raises on files it cannot decode: it documents OSError and SyntaxError, and its format plugins
# index, unpack and compute with whatever numbers the file holds.
DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, ArithmeticError, LookupError, TypeError, NotImplementedError,
    AttributeError, RuntimeError, MemoryError, struct.error, zlib.error,
)  # fmt: skip
_NO_SUCH_FORMAT = (SyntaxError, IndexError, TypeError, struct.error)
_TIFF_TILE, _TIFF_SUBFILE = (322, 323), 254
_DNG_VERSION = 50706


def read_suffixes() -> frozenset[str]:
    """The suffixes, with their dots, of files that may be images that are read."""
    Image.init()
    found = {suffix for suffix, name in Image.registered_extensions().items() if name in BYTES_PER_PIXEL}
    return frozenset(found | {".heic", ".heif", ".hif"})


def is_animated(image: Image.Image) -> bool:
    """Whether an opened image holds several moments, rather than pages or views."""
    try:
        return image.format in ANIMATED and bool(getattr(image, "is_animated", False))
    except DAMAGED:
        # The second picture cannot be read; the first one may.
        return False


@contextmanager
def opened(file: Path | bytes, name: str, watch: Watch) -> Generator[Image.Image | None]:
    """An image whose header was read, within its limits; None where it is of no format that is read.

    Whatever Pillow raises on a damaged one, here or in the block, becomes a `MediaError`.

    Raises:
        MediaError: it is damaged, or too large.
        MissingExtraError: it is HEIF, and pillow-heif is not installed.
    """
    try:
        with WatchedPath(file, watch) if isinstance(file, Path) else WatchedBytes(file, watch) as stream:
            n_bytes = stream.seek(0, 2)
            stream.seek(0)
            head = stream.read(HEAD_BYTES)
            image = _open_any(stream, head, name, n_bytes)
            if image is None:
                yield None
                return
            with image:
                check_cost(image, name, n_bytes)
                # Small blocks: a few bytes of a progressive JPEG can ask for much work.
                if image.format in ("JPEG", "MPO"):
                    cast(Any, image).decodermaxblock = 4096
                yield image
    except (MediaError, MissingExtraError):
        raise
    except DAMAGED as e:
        detail = " ".join(str(e).split()) or type(e).__name__
        raise MediaError(
            f"{name} is a damaged or unsupported image ({detail}); fetch it again, or convert it to PNG"
        ) from e


def check_cost(image: Image.Image, name: str, n_bytes: int) -> None:
    """Refuse an image whose decoding would take more than `DECODING_BYTES`.

    Raises:
        MediaError: names its size, and the largest of its format.
    """
    per_pixel = BYTES_PER_PIXEL.get(image.format or "", max(BYTES_PER_PIXEL.values()))
    if image.info.get("progressive"):
        per_pixel = PROGRESSIVE_BYTES
    _check_size(name, image.size, per_pixel, n_bytes)
    if image.format == "TIFF":
        _check_tiff(image, name, n_bytes)


def _check_size(name: str, size: tuple[int, int], per_pixel: int, n_bytes: int) -> None:
    limit = max(DECODING_BYTES - n_bytes, 0) // per_pixel
    if size[0] * size[1] > limit:
        raise MediaError(
            f"{name} is too large ({size[0]}x{size[1]}, {size[0] * size[1]} pixels); the limit for such a "
            f"file is {limit / 1e6:.0f} megapixels. Scale it down, or cut it into parts"
        )


def _open_any(stream: Any, head: bytes, name: str, n_bytes: int) -> Image.Image | None:
    """As `PIL.Image.open`, among the formats that are read, sizes checked before anything is allocated."""
    if is_heif(head):
        return _open_heif(stream, name, n_bytes)
    Image.preinit()
    if "WEBP" not in Image.OPEN:
        Image.init()
    formats = [f for f in BYTES_PER_PIXEL if f in Image.OPEN]
    if head.startswith(b"\0\0\1"):  # MPEG and H.264 begin so, and TGA has no mark of its own
        formats.remove("TGA")
    for image_format in formats:
        factory, accepts = Image.OPEN[image_format]
        if len(head) < 16 or (accepts is not None and accepts(head[:16]) is not True):
            continue
        if image_format in ("WEBP", "AVIF"):  # their decoders take the whole file at once
            _check_file_bytes(name, n_bytes)
        if image_format == "WEBP" and (size := _webp_size(head)) is not None:
            _check_size(name, size, BYTES_PER_PIXEL["WEBP"], n_bytes)
        if image_format == "ICO":  # decoded when it is opened
            _check_icon(stream, head, name, n_bytes)
        stream.seek(0)
        with suppress(*_NO_SUCH_FORMAT):
            return factory(stream, "")
    if head.startswith(_MARKS):
        raise MediaError(f"{name} is a damaged image: it ends within its header. Fetch or export it again")
    return None


def _open_heif(stream: Any, name: str, n_bytes: int) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as e:
        purpose = f"{name} is an HEIC/HEIF photo; convert it to JPEG, or install what reads it: that"
        raise MissingExtraError("pillow-heif", "heif", purpose) from e
    _check_file_bytes(name, n_bytes)
    stream.seek(0)
    return HeifImageFile(stream, "")


def _check_file_bytes(name: str, n_bytes: int) -> None:
    if n_bytes > MAX_FILE_BYTES:
        raise MediaError(
            f"{name} is too large ({n_bytes / 1e6:.0f} MB); the limit for an image file is "
            f"{MAX_FILE_BYTES / 1e6:.0f} MB. Scale it down, or cut it into parts"
        )


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """The canvas of a WebP file, which its decoder allocates before it says how large it is."""
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(head) >= 30:
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None


def _check_tiff(image: Any, name: str, n_bytes: int) -> None:
    """A tile is decoded as a whole, however small the picture; a raw photo begins with its preview."""
    tags = image.tag_v2
    tile = tuple(int(tags.get(tag, 0)) for tag in _TIFF_TILE)
    _check_size(name, (tile[0], tile[1]), BYTES_PER_PIXEL["TIFF"], n_bytes)
    if _DNG_VERSION in tags or int(tags.get(_TIFF_SUBFILE, 0)) & 1:
        raise MediaError(f"{name} is a camera's raw photo, or begins with a preview; develop it to JPEG")


def _check_icon(stream: Any, head: bytes, name: str, n_bytes: int) -> None:
    """A PNG within an icon may be larger than the icon says."""
    for entry in range(int.from_bytes(head[4:6], "little")):
        place = head[6 + 16 * entry + 12 : 6 + 16 * entry + 16]
        stream.seek(int.from_bytes(place, "little"))
        start = stream.read(24)
        if start[12:16] == b"IHDR":
            size = struct.unpack(">II", start[16:24])
            _check_size(name, (size[0], size[1]), BYTES_PER_PIXEL["ICO"], n_bytes)
