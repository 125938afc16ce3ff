"""What a media file may cost: the limits of memory and time, in one place.

Memory is limited before anything is decoded, from what a file's header says. Time is limited while decoding:
between blocks of a file, between packets and frames of a video. Seconds are those of the processor, or on the
clock where that is less. A decoder that works on one block or frame cannot be interrupted there; the limits
of size bound how long that takes.
"""

from __future__ import annotations

import errno
import io
import os
import time
from pathlib import Path

from pixelreasoner.core.errors import MediaError

DECODING_BYTES = 950 * 10**6
"""What decoding one file may take at its peak, the result included, in bytes; estimated from the header."""
FRAME_BYTES = 512 * 10**6
"""What the frames that are taken of one video, animation or folder may hold together, in bytes."""
MAX_FILE_BYTES = 512 * 10**6
"""The largest image file; several decoders need all of it in memory. Video files have no such limit."""
MAX_FRAMES = 2**20
"""The most frames of a video; more than nine hours at 30 per second."""
MAX_LOST = 0.1
"""The largest share of the frames of a video that may be damaged; they are left out."""
HEADER_SECONDS = 0.8
"""The longest that reading what a picture's file says about itself may take."""
PICTURE_SECONDS = 4.0
"""The longest that a picture may take to decode."""
ANIMATION_SECONDS = 20.0
"""The longest that an animation may take: each of its frames is decoded to reach the next."""
VIDEO_SECONDS = 60.0
"""The longest that the frames of a video file may take to be found and decoded."""
PATIENCE_SECONDS = 2.5
"""From then on a file is given up as soon as its progress says that it will not end in time."""


class Watch:
    """Measures how long a file takes, and stops who reads it when that is too long."""

    def __init__(self, name: str, seconds: float) -> None:
        """Starts now; `name` is what the message calls the file, `seconds` how long it may take."""
        self._name, self._seconds = name, seconds
        self._clocks = time.monotonic(), time.process_time()
        self._phase = 0.0

    def extend(self, seconds: float) -> None:
        """From its start on the file may take so long altogether."""
        self._seconds = seconds

    def next_phase(self) -> None:
        """Progress begins again at 0."""
        self._phase = self._taken()

    def check(self, progress: float = 0.0) -> None:
        """Stop when the time is over, or when it would be at this pace.

        Args:
            progress: the share of the phase's work that is done, 0 to 1; 0 where it is not known.

        Raises:
            MediaError: names the file and the limit.
        """
        taken = self._taken()
        here = taken - self._phase
        if here > PATIENCE_SECONDS and progress > 0:
            taken += here * (1 / progress - 1)
        if taken > self._seconds:
            raise MediaError(
                f"{self._name} would take {taken:.0f} s or longer to decode; the limit is "
                f"{self._seconds:.0f} s. Make it smaller, or cut it into parts"
            )

    def _taken(self) -> float:
        """Seconds so far: of the processor, or on the clock where other threads of the program work too.

        So neither a busy machine nor a busy program makes a file look slow.
        """
        clock, processor = self._clocks
        return min(time.monotonic() - clock, time.process_time() - processor)


def check_frame_bytes(name: str, size: tuple[int, int], n_frames: int) -> None:
    """Refuse frames that together would hold more than `FRAME_BYTES`; `size` is width and height in pixels.

    Raises:
        MediaError: names the file, the size, and the largest one.
    """
    if 3 * size[0] * size[1] * n_frames > FRAME_BYTES:
        raise MediaError(
            f"{name} has frames of {size[0]}x{size[1]}, and {n_frames} of them are too large together; the "
            f"limit is {FRAME_BYTES / 3e6 / n_frames:.1f} megapixels each. Scale the video down"
        )


class WatchedPath(io.BufferedReader):
    """A file on disk, read under a watch."""

    def __init__(self, path: Path, watch: Watch) -> None:
        """Opens the file.

        Raises:
            OSError: it cannot be opened.
        """
        super().__init__(io.FileIO(path))
        self._watch, self._size = watch, os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        self._watch.check(_share(self.tell(), self._size))
        return super().read(size)


class FileForFFmpeg(io.BufferedReader):
    """A file on disk as PyAV reads it; it ends when the time is over.

    No exception can pass through FFmpeg: who decodes asks the watch then. What was read is no progress here.
    """

    def __init__(self, path: Path, watch: Watch) -> None:
        """Opens the file.

        Raises:
            OSError: it cannot be opened.
        """
        super().__init__(io.FileIO(path))
        self._watch = watch

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            self._watch.check()
            return super().read(size)
        except (MediaError, OSError):
            return b""

    def seek(self, target: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(target, whence)
        except (OSError, ValueError):
            # A damaged file names places that cannot be; a negative number is an error to FFmpeg.
            return -errno.EINVAL


class WatchedBytes(io.BytesIO):
    """The bytes of a file, read under a watch."""

    def __init__(self, content: bytes, watch: Watch) -> None:
        """Holds the bytes without a copy."""
        super().__init__(content)
        self._watch, self._size = watch, len(content)

    def read(self, size: int | None = -1, /) -> bytes:
        self._watch.check(_share(self.tell(), self._size))
        return super().read(size)


def _share(position: int, size: int) -> float:
    """How much of a file is read, 0 to 1; 0 where the size is 0, for one that does not count."""
    return min(position / size, 1.0) if size else 0.0
