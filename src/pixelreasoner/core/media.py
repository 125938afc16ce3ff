"""Pictures and videos in memory: original pixels, addressed by their content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.geometry import Size

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """One RGB image at its original resolution.

    Two pictures are equal when their pixels are: `digest` is their identity on disk, in the batch and in
    every cache. The array is made read-only, so a picture can be shared without copies.
    """

    pixels: Pixels
    """uint8, [H, W, 3], RGB."""

    def __post_init__(self) -> None:
        p = self.pixels
        if p.dtype != np.uint8 or p.ndim != 3 or p.shape[2] != 3:
            raise MediaError(f"a picture is uint8 [H, W, 3]; got {p.dtype} {list(p.shape)}")
        if p.shape[0] == 0 or p.shape[1] == 0:
            raise MediaError(f"a picture needs at least one pixel; got {p.shape[1]}x{p.shape[0]}")
        view = p.view()
        view.flags.writeable = False
        object.__setattr__(self, "pixels", view)

    @property
    def size(self) -> Size:
        return Size(self.pixels.shape[1], self.pixels.shape[0])

    @cached_property
    def digest(self) -> str:
        """Content hash: 128 bits over the shape and the pixels, in hexadecimal."""
        h = hashlib.blake2b(digest_size=16)
        h.update(repr(self.pixels.shape).encode())
        h.update(np.ascontiguousarray(self.pixels).data)
        return h.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picture) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Picture({self.size.width}x{self.size.height}, {self.digest[:8]})"


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


Media = Picture | Video
