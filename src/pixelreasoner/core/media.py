"""Pictures and videos: original pixels, addressed by their content, decoded when somebody looks.

A picture from an image file holds the file's path or its bytes. Its pixels are decoded when they are read,
through one cache for the whole process (`DECODED`), so that thousands of pictures cost what their names cost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol, final

import numpy as np

from pixelreasoner.core.byte_cache import ByteCache, Pixels
from pixelreasoner.core.display import html_of
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.geometry import Size

PICTURE_BYTES = 2**30
"""Decoded pictures kept in memory, in bytes."""

DECODED: ByteCache[str] = ByteCache(PICTURE_BYTES)
"""Decoded pictures by digest; those made in memory are not in it."""


class Decoded(NamedTuple):
    """What a source gave."""

    pixels: Pixels
    digest: str
    """Of what was read this time."""


class PixelSource(Protocol):
    """What a picture's pixels come from each time they are decoded: the same ones every time."""

    @property
    def size(self) -> Size:
        """Known without decoding; upright."""
        ...

    @property
    def n_bytes(self) -> int:
        """What it holds in memory."""
        ...

    def digest(self) -> str | None:
        """The picture's digest where the pixels are not needed for it, else None."""
        ...

    def decode(self) -> Decoded:
        """The pixels, uint8 [H, W, 3], in an array of their own.

        Raises:
            MediaError: they cannot be had any more, or were damaged all along.
        """
        ...


@final
class Picture:
    """One RGB image at its original resolution: an array, or a source that gives the same array every time.

    `digest` is its identity on disk, in the batch and in every cache; two pictures are equal when their
    digests are. It is taken over the shape and the pixels, whether in memory or in a lossless file (PNG), so
    that there equal pixels are equal pictures. Of a file of another format (JPEG) it is taken over the bytes:
    they are the same on every machine, while decoders differ in rounding.

    The array is read-only, so a picture can be shared without copies.
    """

    __slots__ = ("__weakref__", "_digest", "_pixels", "_size", "_source")

    def __init__(self, pixels: Pixels) -> None:
        """A picture in memory.

        Args:
            pixels: uint8, [H, W, 3], RGB.

        Raises:
            MediaError: it is another array.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise MediaError(f"a picture is uint8 [H, W, 3]; got {pixels.dtype} {list(pixels.shape)}")
        if pixels.shape[0] == 0 or pixels.shape[1] == 0:
            raise MediaError(f"a picture needs at least one pixel; got {pixels.shape[1]}x{pixels.shape[0]}")
        view = pixels.view()
        view.flags.writeable = False
        self._pixels: Pixels | None = view
        self._source: PixelSource | None = None
        self._size = Size(pixels.shape[1], pixels.shape[0])
        self._digest: str | None = None

    @classmethod
    def of(cls, source: PixelSource, digest: str | None = None) -> Picture:
        """A picture whose pixels are decoded when they are read.

        With `digest`, the one it must turn out to have: reading the pixels raises a MediaError otherwise.
        """
        picture = cls.__new__(cls)
        picture._pixels, picture._source = None, source
        picture._size, picture._digest = source.size, digest
        return picture

    @property
    def size(self) -> Size:
        return self._size

    @property
    def source(self) -> PixelSource | None:
        """Where its pixels come from; None when they are in memory."""
        return self._source

    @property
    def n_bytes(self) -> int:
        """What the picture itself holds in memory, the cache not counted."""
        if self._source is not None:
            return self._source.n_bytes
        return 0 if self._pixels is None else self._pixels.nbytes

    @property
    def pixels(self) -> Pixels:
        """uint8, [H, W, 3], RGB; read-only.

        Raises:
            MediaError: its file is damaged, or was changed or removed since.
        """
        return self._decoded() if self._pixels is None else self._pixels

    @property
    def digest(self) -> str:
        """Content hash, 128 bits in hexadecimal.

        Raises:
            MediaError: as for `pixels`.
        """
        if self._digest is None:
            if self._pixels is not None:
                self._digest = pixel_digest(self._pixels)
            elif (known := self._known_digest()) is not None:
                self._digest = known
            else:
                self._decoded()
        assert self._digest is not None
        return self._digest

    def crop(self, left: int, top: int, right: int, bottom: int) -> Picture:
        """A region in pixels, right and bottom exclusive; at least one pixel, none outside."""
        if self._source is None:
            return Picture(np.ascontiguousarray(self.pixels[top:bottom, left:right]))
        return Picture.of(Region.of(self, left, top, right, bottom))

    def _known_digest(self) -> str | None:
        return self._digest or (None if self._source is None else self._source.digest())

    def _decoded(self) -> Pixels:
        source, expected = self._source, self._known_digest()
        assert source is not None
        if expected is not None and (kept := DECODED.get(expected)) is not None:
            self._digest = expected
            return kept
        pixels, digest = source.decode()
        if expected not in (None, digest) or pixels.shape[1::-1] != self._size:
            raise MediaError(f"{source} was changed after it was written or first read; restore it")
        self._digest = digest
        DECODED.put(digest, pixels)
        return pixels

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Picture) and self.size == other.size and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        digest = "" if self._digest is None else f", {self._digest[:8]}"
        return f"Picture({self.size.width}x{self.size.height}{digest})"

    def _repr_html_(self) -> str | None:
        return html_of(self)


@dataclass(frozen=True)
class Region:
    """A part of a picture that is not in memory: cut out when it is looked at."""

    picture: Picture
    box: tuple[int, int, int, int]
    """Left, top, right, bottom, in pixels."""

    @classmethod
    def of(cls, picture: Picture, left: int, top: int, right: int, bottom: int) -> Region:
        """A region of a picture; one of a region is one of the picture beneath."""
        if isinstance(picture.source, Region):
            beneath, (x, y, _, _) = picture.source.picture, picture.source.box
            return cls(beneath, (x + left, y + top, x + right, y + bottom))
        return cls(picture, (left, top, right, bottom))

    @property
    def size(self) -> Size:
        left, top, right, bottom = self.box
        return Size(right - left, bottom - top)

    @property
    def n_bytes(self) -> int:
        return 0

    def digest(self) -> None:
        return None

    def decode(self) -> Decoded:
        left, top, right, bottom = self.box
        pixels = self.picture.pixels[top:bottom, left:right].copy()
        return Decoded(pixels, pixel_digest(pixels))


def pixel_digest(pixels: Pixels) -> str:
    """128 bits over the shape and the pixels, in hexadecimal."""
    h = hashlib.blake2b(digest_size=16)
    h.update(repr(pixels.shape).encode())
    h.update(np.ascontiguousarray(pixels).data)
    return h.hexdigest()


@dataclass(frozen=True)
class Video:
    """Frames sampled from a video, in order, with their times."""

    frames: tuple[Picture, ...]
    """At least one; all of one size."""
    times_s: tuple[float, ...] = field(default=())
    """The time of each frame in seconds; one per second when the source has no clock."""

    def __post_init__(self) -> None:
        if not self.frames:
            raise MediaError("a video needs at least one frame")
        sizes = {f.size for f in self.frames}
        if len(sizes) > 1:
            raise MediaError(f"the frames of a video must have one size; got {sorted(sizes)}")
        if not self.times_s:
            object.__setattr__(self, "times_s", tuple(float(i) for i in range(len(self.frames))))
        if len(self.times_s) != len(self.frames):
            raise MediaError(f"{len(self.frames)} frames but {len(self.times_s)} times")

    @property
    def size(self) -> Size:
        return self.frames[0].size

    @cached_property
    def digest(self) -> str:
        h = hashlib.blake2b(digest_size=16)
        for frame, t in zip(self.frames, self.times_s, strict=True):
            h.update(f"{frame.digest}@{t:.6f}".encode())
        return h.hexdigest()

    def __repr__(self) -> str:
        return f"Video({len(self.frames)} frames of {self.size.width}x{self.size.height})"

    def _repr_html_(self) -> str | None:
        return html_of(self)


Media = Picture | Video


def pictures_of(media: Iterable[Media]) -> Iterator[Picture]:
    """The pictures among some media, and the frames of the videos."""
    for item in media:
        yield from (item,) if isinstance(item, Picture) else item.frames


def decode(media: Iterable[Media]) -> None:
    """Decode some media into the cache, ahead of who looks at them, in another thread for instance.

    Raises:
        MediaError: one of them is damaged, or its file was changed or removed.
    """
    for picture in pictures_of(media):
        _ = picture.pixels
