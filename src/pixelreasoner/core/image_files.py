"""Image files: what their headers say, and their pixels when somebody looks.

Files come from users, so everything that can be wrong with one is a `MediaError` that names the file and
what to do about it. Nothing here reads more than a file's header before its size is known.
"""

from __future__ import annotations

import errno
import hashlib
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.file_kinds import HEAD_BYTES, FileKind, identify
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.image_formats import DAMAGED, check_cost, is_animated, opened
from pixelreasoner.core.image_pixels import header_orientation, upright_rgb
from pixelreasoner.core.media import Decoded, Picture, pixel_digest
from pixelreasoner.core.media_limits import HEADER_SECONDS, MAX_FILE_BYTES, PICTURE_SECONDS, Watch

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp"}
"""Formats (Pillow's names) that stay encoded, and how their files are named. A picture of another format is
decoded when it is opened, and is then one made in memory."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_SPECIAL = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


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
            MediaError: it is not there any more, or cannot be read.
        """
        if isinstance(self.file, bytes):
            return self.file
        if (n_bytes := check_file(self.file)) > MAX_FILE_BYTES:
            raise MediaError(f"{self.file} was changed ({n_bytes / 1e6:.0f} MB now); restore it")
        try:
            return self.file.read_bytes()
        except OSError as e:
            raise _unreadable(self.file, e) from e

    def digest(self) -> str | None:
        return None if self.suffix == ".png" else _content_digest(self.content())

    def decode(self) -> Decoded:
        content = self.content()
        with opened(content, self.name, Watch(self.name, PICTURE_SECONDS)) as image:
            if image is None:
                raise MediaError(f"{self.name} was changed after it was first read; restore it")
            pixels = upright_rgb(image)
        return Decoded(pixels, pixel_digest(pixels) if self.suffix == ".png" else _content_digest(content))


class ImageFile(NamedTuple):
    """What an image file holds."""

    picture: Picture
    animated: bool
    """Whether it is the first of several moments."""


def open_image(file: Path | bytes, name: str, digest: str | None = None) -> Picture | None:
    """The picture in an image file, not decoded yet, or None when it is of no format that is read.

    A format that is not in `SUFFIXES` is decoded here. `digest` is what the picture is known by already.

    Raises:
        MediaError: the file is missing, empty or too large, or its header damaged.
        MissingExtraError: it is HEIF, and pillow-heif is not installed.
    """
    found = inspect_image(file, name, digest)
    return None if found is None else found.picture


def inspect_image(file: Path | bytes, name: str, digest: str | None = None) -> ImageFile | None:
    """As `open_image`, with what else the header says."""
    if isinstance(file, Path):
        check_file(file)
    elif not file:
        return None
    watch = Watch(name, HEADER_SECONDS)
    with opened(file, name, watch) as image:
        if image is None:
            return None
        animated = is_animated(image)
        suffix = SUFFIXES.get(image.format or "")
        if suffix is None:
            watch.extend(PICTURE_SECONDS)
            return ImageFile(Picture(upright_rgb(image)), animated)
        turned = header_orientation(image, file) >= 5
        size = Size(*(image.size[::-1] if turned else image.size))
        return ImageFile(Picture.of(EncodedImage(file, name, suffix, size), digest), animated)


def picture_of(image: Image.Image) -> Picture:
    """The picture in an image that Pillow holds: upright and in RGB, like one that is read from a file.

    Raises:
        MediaError: it is empty or too large, or the file that it reads from is damaged or closed.
    """
    name = "the Pillow image"
    if 0 in image.size:
        raise MediaError(f"{name} is {image.width}x{image.height}; give one with at least one pixel")
    check_cost(image, name, 0)
    try:
        # Of a copy: the caller's image stays open.
        return Picture(upright_rgb(image.copy()))
    except MediaError:
        raise
    except DAMAGED as e:
        raise MediaError(f"{name} cannot be read ({e}); open its file again, or give the path") from e


def check_no_address(text: str) -> None:
    """Refuse what is meant as an address, or as a data URI, where a path is taken.

    Raises:
        MediaError: it is one.
    """
    if "://" in text or text.startswith("data:"):
        raise _not_fetched(text)


def check_file(path: Path) -> int:
    """Refuse a path that is no plain file with something in it; the file's size in bytes.

    Raises:
        MediaError: says what is there instead.
    """
    try:
        found = path.stat()
    except FileNotFoundError as e:
        raise _absent(path) from e
    except (OSError, ValueError) as e:
        # Names longer than the system allows are no files, and are often no names at all.
        raise _unreadable(path, e) from e
    if stat.S_ISDIR(found.st_mode):
        raise MediaError(f"{path} is a folder, not a file; give the path of one image")
    for test, what in _SPECIAL:
        if test(found.st_mode):
            raise MediaError(f"{path} is {what}, and only plain files are read; save what it gives as a file")
    if found.st_size == 0:
        raise MediaError(f"{path} is empty (0 bytes); fetch or export it again")
    return found.st_size


def kind_of(file: Path | bytes) -> FileKind | None:
    """What a file is that is no image, where that is known by how it begins."""
    if isinstance(file, bytes):
        return identify(file[:HEAD_BYTES])
    with file.open("rb") as stream:
        return identify(stream.read(HEAD_BYTES))


def _not_fetched(address: str) -> MediaError:
    return MediaError(f"{address[:80]} is an address, and addresses are not fetched; download the file first")


def _absent(path: Path) -> MediaError:
    if _ADDRESS.match(str(path)):  # a path has lost one of its slashes
        return _not_fetched(str(path))
    return MediaError(f"{path} does not exist; check the path (the current folder is {Path.cwd()})")


def _unreadable(path: Path, error: OSError | ValueError) -> MediaError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    name = str(path) if getattr(error, "errno", None) != errno.ENAMETOOLONG else f"{str(path)[:60]}..."
    return MediaError(f"{name} cannot be read ({reason}); check the path and its permissions")


def _content_digest(content: bytes) -> str:
    """128 bits over the bytes of a file, in hexadecimal; never that of any pixels."""
    return hashlib.blake2b(content, digest_size=16, person=b"encoded").hexdigest()
