"""Frames out of video files, exact to the frame, through PyAV.

The packets of a file tell the time of every frame without decoding one. From those times the wanted frames
are chosen; then each is reached from the last keyframe before it, and checked by its own time. Files whose
packets carry no times, or that cannot be sought in, are decoded from the start instead.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from pixelreasoner.core.errors import MediaError, MissingExtraError
from pixelreasoner.core.media import Picture, Video

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class _Index:
    """When a video's frames are shown, in ticks of the stream's clock."""

    shown: tuple[int, ...]
    """The time of every frame, ascending."""
    keys: tuple[int, ...]
    """Those a decoder can start at."""
    tick_s: Fraction
    """The length of one tick."""


def read_video(path: Path, *, n_frames: int, max_pixels: int) -> Video:
    """`n_frames` frames from the middles of as many equal stretches of the duration.

    Raises:
        MediaError: the file is damaged, holds no video, or has frames of more than `max_pixels`.
        MissingExtraError: PyAV is not installed.
    """
    try:
        from av.error import FFmpegError
    except ImportError as e:
        raise MissingExtraError("av", "video", f"{path} is not an image; reading it as a video") from e
    try:
        found = _seek_frames(path, n_frames, max_pixels) or _decode_frames(path, n_frames, max_pixels)
    except FFmpegError as e:
        raise MediaError(
            f"{path} is not a readable video or image ({e.strerror}); fetch it again, or convert it to mp4"
        ) from e
    times_s, frames = found
    if not frames:
        raise MediaError(f"{path} holds no video frame; it may be cut short. Fetch or export it again")
    try:
        return Video(tuple(frames), times_s=tuple(times_s))
    except MediaError as e:
        raise MediaError(f"{path} cannot be used: {e}. Convert it to mp4 with a fixed size") from e


def spread(times: Sequence[int], n: int) -> list[int]:
    """The indices of the frames on screen at the middles of `n` equal stretches of a video.

    `times` are the moments at which its frames appear, strictly ascending; the last frame is taken to stay
    for the mean of the gaps. At most `n` indices, ascending, none twice.
    """
    count = len(times)
    if count <= n:
        return list(range(count))
    # Whole numbers throughout: a middle that falls on a frame's very start must not depend on rounding.
    span = (times[-1] - times[0]) * count
    middles = (times[0] + (2 * i + 1) * span // (2 * n * (count - 1)) for i in range(n))
    return list(dict.fromkeys(bisect_right(times, t) - 1 for t in middles))


def _seek_frames(path: Path, n: int, max_pixels: int) -> tuple[list[float], list[Picture]] | None:
    """The chosen frames with their times, each decoded from the keyframe before it; None where that fails."""
    index = _index_packets(path, max_pixels)
    if index is None:
        return None
    wanted = [index.shown[i] for i in spread(index.shown, n)]
    frames: list[Picture] = []
    with _opened(path, max_pixels) as (container, stream):
        decoded = _decoded(container, stream)
        at = index.keys[0]
        for time in wanted:
            key = index.keys[max(bisect_right(index.keys, time) - 1, 0)]
            # Decoding on is the shorter way for as long as no keyframe lies ahead.
            if key > at:
                container.seek(key, stream=stream)
                decoded = _decoded(container, stream)
            frame = _advance(decoded, time)
            if frame is None:
                return None
            frames.append(_upright(frame))
            at = time
    return [float((t - index.shown[0]) * index.tick_s) for t in wanted], frames


def _index_packets(path: Path, max_pixels: int) -> _Index | None:
    """The times of all frames as the packets give them; None when they do not."""
    shown: set[int] = set()
    keys: set[int] = set()
    with _opened(path, max_pixels) as (container, stream):
        tick_s = stream.time_base
        for packet in _packets(container, stream):
            # The demuxer ends with an empty packet; edit lists mark packets that are decoded but never shown.
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.pts is None:
                return None
            shown.add(packet.pts)
            if packet.is_keyframe:
                keys.add(packet.pts)
    if not keys or tick_s is None:
        return None
    return _Index(tuple(sorted(shown)), tuple(sorted(keys)), tick_s)


def _advance(decoded: Iterator[VideoFrame], time: int) -> VideoFrame | None:
    """The frame shown from `time` on, or None when the decoder passes it by or its clock runs backward."""
    before = None
    for frame in decoded:
        if frame.pts is None or (before is not None and frame.pts <= before):
            return None
        if frame.pts >= time:
            return frame if frame.pts == time else None
        before = frame.pts
    return None


def _decode_frames(path: Path, n: int, max_pixels: int) -> tuple[list[float], list[Picture]]:
    """The chosen frames with their times, by decoding twice from the start: to count, and to take."""
    with _opened(path, max_pixels) as (container, stream):
        times = [frame.pts for frame in _decoded(container, stream)]
        tick_s, rate = stream.time_base, stream.average_rate
    clock = [t for t in times if t is not None]
    ascending = all(earlier < later for earlier, later in pairwise(clock))
    if tick_s is None or len(clock) < len(times) or not ascending:
        clock, tick_s = list(range(len(times))), 1 / (rate or Fraction(1))
    wanted = spread(clock, n)
    with _opened(path, max_pixels) as (container, stream):
        chosen = set(wanted)
        frames = [_upright(f) for i, f in enumerate(_decoded(container, stream)) if i in chosen]
    return [float((clock[i] - clock[0]) * tick_s) for i in wanted], frames


@contextmanager
def _opened(path: Path, max_pixels: int) -> Generator[tuple[InputContainer, VideoStream]]:
    """The file and its video stream, ready to decode."""
    import av
    from av.stream import Disposition

    # Playlists are files too, and may name other places to read from: only local files are followed.
    with av.open(
        str(path.resolve()), metadata_errors="ignore", options={"protocol_whitelist": "file"}
    ) as container:
        # The cover of an audio file poses as a video stream; FFmpeg's "tty" turns any text file into one.
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams or container.format.name == "tty":
            raise MediaError(f"{path} holds no video stream; give a video file (mp4, webm, ...) or an image")
        stream = streams[0]
        # Where the codec is unknown PyAV leaves this out, whatever its annotations say.
        if cast(object, stream.codec_context) is None:
            raise MediaError(f"{path} is in a video format that FFmpeg cannot decode; convert it to mp4")
        if stream.width * stream.height > max_pixels:
            raise MediaError(f"{path} has frames of {stream.width}x{stream.height}; scale the video down")
        stream.thread_type = "AUTO"
        yield container, stream


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    try:
        yield from container.demux(stream)
    except IndexError as e:
        # A damaged file can announce new streams half-way, which PyAV looks up in the list it made before.
        raise MediaError(f"{container.name} is a damaged video; fetch it again") from e


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    for packet in _packets(container, stream):
        yield from packet.decode()


def _upright(frame: VideoFrame) -> Picture:
    """The frame in RGB, turned as its metadata asks (counter-clockwise degrees)."""
    pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    return Picture(np.ascontiguousarray(np.rot90(pixels, k=round(frame.rotation / 90))))
