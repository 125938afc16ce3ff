"""Image files: what their headers say, and their pixels when somebody looks.

Files come from users, so everything that can be wrong with one is a `MediaError` that names the file and
what to do about it. Nothing here reads more than a file's header before its size is known.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from pixelreasoner.core.byte_cache import Pixels
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.media import Decoded, Picture, pixel_digest

MAX_IMAGE_PIXELS = 2 * 89_478_485
"""The largest picture that is read, in pixels: about 179 megapixels, half a gigabyte as uint8 RGB.

The point where Pillow itself refuses a file as a decompression bomb, above any single-shot camera in common
use; repeated here so that it also holds in a program that has switched Pillow's own guard off."""

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp"}
"""Formats (Pillow's names) that stay encoded, and how their files are named. A picture of another format is
decoded when it is opened, and is then one made in memory."""

# What Pillow raises on files it cannot decode: it documents OSError and SyntaxError, and its format plugins
# index, unpack and compute with whatever numbers the file holds.
_DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, ArithmeticError, LookupError, TypeError, NotImplementedError,
    struct.error, zlib.error,
)  # fmt: skip
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_TURN_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each value of the EXIF orientation tag."""


@dataclass(frozen=True)
class EncodedImage:
    """An image file, or its bytes: the source of a picture's pixels (`core.media.PixelSource`)."""

    file: Path | bytes
    name: str
    """What messages call it."""
    suffix: str
    size: Size

    def __str__(self) -> str:
        return self.name

    @property
    def n_bytes(self) -> int:
        return len(self.file) if isinstance(self.file, bytes) else 0

    def content(self) -> bytes:
        """The bytes of the file.

        Raises:
            MediaError: it is not there any more.
        """
        if isinstance(self.file, bytes):
            return self.file
        check_file(self.file)
        return self.file.read_bytes()

    def digest(self) -> str | None:
        return None if self.suffix == ".png" else _content_digest(self.content())

    def decode(self) -> Decoded:
        content = self.content()
        with _opened(io.BytesIO(content), self.name) as image:
            pixels = _upright_rgb(image)
        return Decoded(pixels, pixel_digest(pixels) if self.suffix == ".png" else _content_digest(content))


def open_image(file: Path | bytes, name: str, digest: str | None = None) -> Picture | None:
    """The picture in an image file, not decoded yet, or None when Pillow knows no image format like it.

    A format that is not in `SUFFIXES` is decoded here. `digest` is what the picture is known by already.

    Raises:
        MediaError: the file is missing, empty or too large, or its header damaged.
    """
    if isinstance(file, Path):
        check_file(file)
    elif not file:
        return None
    try:
        with _opened(_stream(file), name) as image:
            # Pillow names the size of an MPEG stream and has no decoder for it.
            if image.format == "MPEG":
                return None
            suffix = SUFFIXES.get(image.format or "")
            if suffix is None:
                return Picture(_upright_rgb(image))
            turned = _header_orientation(image, file) >= 5
            size = Size(*(image.size[::-1] if turned else image.size))
            return Picture.of(EncodedImage(file, name, suffix, size), digest)
    except UnidentifiedImageError:
        return None


def picture_of(image: Image.Image) -> Picture:
    """The picture in an image that Pillow holds: upright and in RGB, like one that is read from a file.

    Raises:
        MediaError: it is empty or too large, or the file that it reads from is damaged or closed.
    """
    name = "the Pillow image"
    _check_pixels(name, image.width * image.height)
    try:
        return Picture(_upright_rgb(image))
    except MediaError:
        raise
    except _DAMAGED as e:
        raise MediaError(f"{name} cannot be read ({e}); open its file again, or give the path") from e


def check_file(path: Path) -> None:
    """Refuse a path that is no file with something in it.

    Raises:
        MediaError: says what is there instead.
    """
    if path.is_dir():
        raise MediaError(f"{path} is a folder, not a file; give the path of one image")
    if not path.is_file():
        raise MediaError(f"{path} does not exist; check the path (the current folder is {Path.cwd()})")
    if path.stat().st_size == 0:
        raise MediaError(f"{path} is empty (0 bytes); fetch or export it again")


def _stream(file: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(file) if isinstance(file, bytes) else file


@contextmanager
def _opened(file: Path | IO[bytes], name: str) -> Generator[Image.Image]:
    """An image whose header was read; what Pillow raises on a damaged one becomes a `MediaError`.

    Raises:
        UnidentifiedImageError: Pillow knows no format like it.
        MediaError: it is damaged, or too large.
    """
    try:
        with Image.open(file) as image:
            if image.format != "MPEG":
                _check_pixels(name, image.width * image.height)
            yield image
    except (UnidentifiedImageError, MediaError):
        raise
    except _BOMB as e:
        raise _too_large(name, str(e)) from e
    except _DAMAGED as e:
        raise MediaError(
            f"{name} is a damaged or unsupported image ({e}); fetch it again, or convert it to PNG"
        ) from e


def _check_pixels(name: Path | str, pixels: int) -> None:
    if pixels > MAX_IMAGE_PIXELS:
        raise _too_large(name, f"{pixels} pixels")


def _too_large(name: Path | str, detail: str) -> MediaError:
    return MediaError(
        f"{name} is too large ({detail}); the limit is {MAX_IMAGE_PIXELS // 10**6} megapixels. "
        f"Scale it down, or cut it into parts"
    )


def _upright_rgb(image: Image.Image) -> Pixels:
    image.load()  # a TIFF turns itself upright here
    turn = _TURN_UPRIGHT.get(_orientation(image))
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_to_8_bits(np.asarray(image)))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours)
    image = image.convert("RGB")
    return np.asarray(image if turn is None else image.transpose(turn))


def _orientation(image: Image.Image) -> int:
    return _orientation_in(image.getexif)


def _orientation_in(read: Callable[[], Image.Exif]) -> int:
    try:
        return read().get(ExifTags.Base.Orientation, 1)
    except _DAMAGED:
        # Unreadable metadata says nothing about the pixels, which are fine.
        return 1


def _header_orientation(image: Image.Image, file: Path | bytes) -> int:
    """As `_orientation`, without decoding the pixels where that can be avoided."""
    if image.format != "PNG" or _has_late_metadata(file):
        return _orientation(image)
    # Pillow decodes a whole PNG to look for metadata behind the pixels.
    return _orientation_in(partial(Image.Image.getexif, image))


def _has_late_metadata(file: Path | bytes) -> bool:
    """Whether a PNG has chunks behind its pixels that may speak of the orientation."""
    with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as stream:
        stream.seek(8)
        after = False
        while len(head := stream.read(8)) == 8:
            length, tag = struct.unpack(">I4s", head)
            after = after or tag == b"IDAT"
            if tag == b"IEND":
                return False
            if after and tag in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            stream.seek(length + 4, io.SEEK_CUR)
    return False


def _content_digest(content: bytes) -> str:
    """128 bits over the bytes of a file, in hexadecimal; never that of any pixels."""
    return hashlib.blake2b(content, digest_size=16, person=b"encoded").hexdigest()


def _to_8_bits(samples: npt.NDArray[np.generic]) -> Pixels:
    """Grey samples of 16 bits (0 to 65535) or floats (0 to 1) as uint8; other ranges are stretched to fit."""
    values = np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    white = 1.0 if np.issubdtype(samples.dtype, np.floating) else 65535.0
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > white:
        values, white = values - low, high - low
    return np.rint(values * (255.0 / white if white > 0 else 0.0)).astype(np.uint8)
