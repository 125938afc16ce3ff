"""Pictures in requests: named by their digest, and encoded once, when they are sent."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from pixelreasoner.chat.pixels import resized
from pixelreasoner.core.byte_cache import ByteCache
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.image_files import EncodedImage
from pixelreasoner.core.image_pixels import orientation
from pixelreasoner.core.media import Picture, Region
from pixelreasoner.core.media_io import encode_png

LOSSLESS = ".png"
JPEG_QUALITY = 95
ENCODED_BYTES = 64 * 2**20
ENCODED: ByteCache[tuple[str, Size]] = ByteCache(ENCODED_BYTES)
"""Data URLs by digest and size: a trajectory's requests show the same pictures."""


@dataclass(frozen=True)
class PictureUrl:
    """A picture as a data URL, which is made when it is needed; stands where the protocol has the text."""

    picture: Picture
    size: Size
    """At which it is sent."""

    @property
    def key(self) -> str:
        """What it is known by, whatever encodes it.

        Raises:
            MediaError: the picture cannot be read any more.
        """
        return f"picture:{self.picture.digest}:{self.size.width}x{self.size.height}"

    def content(self) -> memoryview:
        """The data URL, in ASCII: a JPEG of a photograph (JPEG, WebP), its own where it can be; else a PNG.

        Raises:
            MediaError: the picture cannot be read any more.
        """
        key = (self.picture.digest, self.size)
        kept = ENCODED.get(key)
        if kept is None:
            kept = np.frombuffer(self._encoded(), np.uint8)
            ENCODED.put(key, kept)
        return kept.data

    def _encoded(self) -> bytes:
        if (content := self._as_it_is()) is not None:
            return data_url(content, "jpeg")
        made = Picture(resized(self.picture, self.size))
        return data_url(encode_jpeg(made), "jpeg") if _is_lossy(self.picture) else png_url(made)

    def _as_it_is(self) -> bytes | None:
        """The file of the picture, where every reader sees the same in it: a plain JPEG, upright."""
        source = self.picture.source
        if not isinstance(source, EncodedImage) or source.suffix != ".jpg" or self.size != source.size:
            return None
        if source.digest() != self.picture.digest:
            return None  # it was changed: reading its pixels says so
        content = source.content()
        with Image.open(io.BytesIO(content)) as image:
            plain = image.format == "JPEG" and image.mode in ("RGB", "L") and orientation(image) == 1
        return content if plain else None


def text_part(text: str) -> dict[str, Any]:
    """Words, as a part of a message."""
    return {"type": "text", "text": text}


def picture_part(picture: Picture, size: Size | None = None) -> dict[str, Any]:
    """A picture, as a part of a message.

    Args:
        picture: the original.
        size: at which it is sent; None for its own.
    """
    return {"type": "image_url", "image_url": {"url": PictureUrl(picture, size or picture.size)}}


def png_url(picture: Picture) -> bytes:
    """A data URL of a picture, every pixel kept."""
    return data_url(encode_png(picture), "png")


def data_url(content: bytes, kind: str) -> bytes:
    """The bytes of an image file as a data URL, in ASCII.

    Args:
        content: of the file.
        kind: of the file, as in `image/png`.
    """
    return b"data:image/%s;base64,%s" % (kind.encode(), base64.b64encode(content))


def encode_jpeg(picture: Picture) -> bytes:
    """The bytes of a JPEG file of a picture, colours at full resolution."""
    buffer = io.BytesIO()
    Image.fromarray(picture.pixels).save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _is_lossy(picture: Picture) -> bool:
    """Whether the pixels come from a file that has lost some already."""
    source = picture.source
    if isinstance(source, Region):
        return _is_lossy(source.picture)
    return isinstance(source, EncodedImage) and source.suffix != LOSSLESS
