"""Decoded images as upright RGB of 8 bits, strip by strip, so that no second copy is needed."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from pixelreasoner.core.byte_cache import Pixels
from pixelreasoner.core.image_formats import DAMAGED

STRIP_PIXELS = 2**20
"""How many pixels are converted at a time."""
_TURN: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, k=-1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, k=1),
}
"""What undoes each value of the EXIF orientation tag."""


def upright_rgb(image: Image.Image) -> Pixels:
    """The pixels of an opened image, decoded now, turned upright, uint8 [H, W, 3]; the image is closed."""
    deep_rgb = _holds_deep_rgb(image)
    image.load()  # a TIFF turns itself upright here
    turn = orientation(image)
    if deep_rgb and isinstance(image.info.get("transparency"), tuple):
        # Pillow has kept the upper bytes of the samples, and the whole of the transparent colour.
        image.info["transparency"] = tuple(value >> 8 for value in image.info["transparency"])
    pixels = rgb(image)
    image.close()
    return turned(pixels, turn)


def rgb(image: Image.Image) -> Pixels:
    """The pixels of a decoded image as they are stored, uint8 [H, W, 3].

    Transparency is laid on white; samples of 16 bits (0 to 65535) and floats (0 to 1) become 8 bits, other
    ranges are stretched to fit.
    """
    width, height = image.size
    out = np.empty((height, width, 3), np.uint8)
    if image.mode.startswith(("I", "F")):
        _fill_from_samples(out, image)
    else:
        for y, strip in _strips(image):
            out[y : y + strip.height] = np.asarray(_on_white(strip))
    return out


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels [H, W, 3] turned upright; `orientation` is EXIF's, 1 to 8, any other value turns nothing."""
    turn = _TURN.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an image, 1 to 8; 1 where none can be read."""
    return _orientation_in(image.getexif)


def header_orientation(image: Image.Image, file: Path | bytes) -> int:
    """As `orientation`, without decoding the pixels where that can be avoided."""
    if image.format != "PNG" or _has_late_metadata(file):
        return orientation(image)
    # Pillow decodes a whole PNG to look for metadata behind the pixels.
    return _orientation_in(partial(Image.Image.getexif, image))


def _orientation_in(read: Callable[[], Image.Exif]) -> int:
    try:
        return read().get(ExifTags.Base.Orientation, 1)
    except DAMAGED:
        # Unreadable metadata says nothing about the pixels, which are fine.
        return 1


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


def _holds_deep_rgb(image: Image.Image) -> bool:
    """Whether a PNG has colours of 16 bits a sample."""
    tiles = getattr(image, "tile", ())
    return image.format == "PNG" and any("RGB;16B" in str(tile[3]) for tile in tiles)


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Some rows at a time, from the top, each with its first row's number."""
    rows = max(1, STRIP_PIXELS // image.width)
    for y in range(0, image.height, rows):
        yield y, image.crop((0, y, image.width, min(y + rows, image.height)))


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours)
    return image.convert("RGB")


def _fill_from_samples(out: Pixels, image: Image.Image) -> None:
    """Grey of 16 bits or floats; white where a PNG says that a level is transparent."""
    transparent = image.info.get("transparency")
    low, white = _range(image)
    for y, strip in _strips(image):
        samples = np.asarray(strip)
        grey = np.rint((_finite(samples) - low) * (255.0 / white if white > 0 else 0.0)).astype(np.uint8)
        if isinstance(transparent, int):
            grey[samples == transparent] = 255
        out[y : y + strip.height] = grey[..., None]


def _range(image: Image.Image) -> tuple[float, float]:
    """What is black, and how far above it white is."""
    low, high, white = np.inf, -np.inf, 1.0
    for _, strip in _strips(image):
        samples = np.asarray(strip)
        white = 1.0 if np.issubdtype(samples.dtype, np.floating) else 65535.0
        values = _finite(samples)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high - low) if low < 0 or high > white else (0.0, white)


def _finite(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    return np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
