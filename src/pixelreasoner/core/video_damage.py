"""Videos with damaged places: what can still be decoded, and how much is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pixelreasoner.core.media_limits import MAX_LOST, Watch
from pixelreasoner.core.video_container import declared_seconds, packets

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

MAX_ERRORS = 100
"""Reading goes on behind so many places that cannot be read."""


class WholeStream:
    """All frames of a stream that can be decoded, from its start on, and how many packets were lost."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        """Reads nothing yet."""
        self._container, self._stream = container, stream
        self._n_bytes = max(container.size, 1)
        self._n_read = self._n_failed = 0
        self._end_s = 0.0

    @property
    def total(self) -> int:
        """How many packets there should be, as far as the file tells."""
        stated = declared_packets(self._stream)
        # Where nothing is wrong, the length and the rate that a file states may be wrong themselves.
        if _is_matroska(self._stream) and (self._n_failed > 0 or ends_early(self._stream, self._end_s)):
            stated = round(declared_seconds(self._stream) * float(self._stream.guessed_rate or 0))
        return max(self._n_read, stated)

    @property
    def n_lost(self) -> int:
        """How many of them cannot be read or decoded."""
        return min(self._n_failed + self.total - self._n_read, self.total)

    def frames(self, watch: Watch | None) -> Iterator[VideoFrame]:
        """The frames, in order; `watch` follows the place in the file, None where the caller counts."""
        from av.error import FFmpegError

        for packet in self._packets():
            if watch is not None:
                watch.check(min((packet.pos or 0) / self._n_bytes, 1.0))
            self._n_read += packet.size > 0
            if packet.pts is not None:
                self._end_s = max(self._end_s, float(packet.pts * packet.time_base))
            try:
                decoded = packet.decode()
            except FFmpegError:
                self._n_failed += packet.size > 0
                continue
            for frame in decoded:
                if frame.is_corrupt:
                    self._n_failed += 1
                else:
                    yield frame

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """The packets, also those behind a place that cannot be read."""
        from av.error import EOFError as EndOfFile
        from av.error import FFmpegError

        for _ in range(MAX_ERRORS):
            try:
                yield from packets(self._container, self._stream)
                return
            except EndOfFile:
                return
            except FFmpegError:
                continue


def declared_packets(stream: VideoStream) -> int:
    """How many packets a stream has by the table of an mp4; 0 in other containers, which guess."""
    return stream.frames if stream.container.format.name.startswith("mov") else 0


def ends_early(stream: VideoStream, last_s: float) -> bool:
    """Whether a stream whose last frame is shown at `last_s` was to be longer by a tenth and a second.

    Known of Matroska alone, whose readers end without a word where a file was cut.
    """
    return _is_matroska(stream) and last_s < (1 - MAX_LOST) * declared_seconds(stream) - 1


def _is_matroska(stream: VideoStream) -> bool:
    return "matroska" in stream.container.format.name
