"""Frames out of video files, exact to the frame, through PyAV.

The packets of a file tell the time of every frame without decoding one. From those times the wanted frames
are chosen; then each is reached from the last keyframe before it, and checked by its own time. Files whose
packets carry no times, whose clock runs backward or jumps, that are damaged or cannot be sought in, are
decoded from the start instead.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pixelreasoner.core.errors import MediaError, MissingExtraError
from pixelreasoner.core.frame_sampling import Clip, mend_clock, spread
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.media_limits import MAX_FRAMES, MAX_LOST, VIDEO_SECONDS, Watch
from pixelreasoner.core.video_container import NO_VIDEO, opened_video, packets, picture_of
from pixelreasoner.core.video_damage import WholeStream, declared_packets, ends_early

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

LOG = logging.getLogger("pixelreasoner")

LONGEST_GAP_S = 10
"""In containers whose clock may start again (MPEG), a longer gap is a jump of the clock; as ffmpeg has it."""
LONGEST_STILL_S = 30 * 3600
"""In the others, as ffmpeg has it."""
_TS_DISCONT, _NO_TIMESTAMPS = 0x0200, 0x0080
"""FFmpeg's flags of containers whose clock may start again, and of streams that have none."""


@dataclass(frozen=True, slots=True)
class _Index:
    """When a video's frames are shown, in ticks of the stream's clock."""

    shown: tuple[int, ...]
    """The time of every frame, ascending."""
    keys: tuple[int, ...]
    """Those a decoder can start at."""
    tick_s: Fraction
    """The length of one tick."""


@dataclass(frozen=True, slots=True)
class _Request:
    """Which frames are wanted of which file."""

    path: Path
    n_frames: int
    watch: Watch
    clip: Clip | None

    def choose(self, times: Sequence[int], tick_s: Fraction) -> list[int]:
        """The indices of the wanted frames, ascending; of a clip, some may come more than once.

        Raises:
            MediaError: the clip lies outside of the video.
        """
        if self.clip is None:
            return spread(times, self.n_frames)
        span = float((times[-1] - times[0]) * tick_s)
        fps = (len(times) - 1) / span if span > 0 else 1.0
        chosen = self.clip.frames(len(times), fps, self.n_frames)
        if not chosen:
            raise MediaError(
                f"{self.path}: the part from {self.clip.start_s} s to {self.clip.end_s} s lies outside "
                f"of the video of {span:.1f} s; check the times"
            )
        return chosen


def read_video(path: Path, *, n_frames: int, clip: Clip | None = None) -> Video:
    """`n_frames` frames from the middles of as many equal stretches of the duration, or of a clip.

    Damaged stretches are left out, and told in the log.

    Raises:
        MediaError: the file holds no video, more than `MAX_LOST` of it is damaged, it takes more memory or
            time than `core.media_limits` allows, or the clip lies outside of it.
        MissingExtraError: PyAV is not installed.
    """
    try:
        from av.error import FFmpegError
    except ImportError as e:
        raise MissingExtraError("av", "video", f"{path} is not an image; reading it as a video") from e
    request = _Request(path, n_frames, Watch(str(path), VIDEO_SECONDS), clip)
    try:
        found = _seek_frames(request) or _decode_frames(request)
    except (FFmpegError, OSError) as e:
        request.watch.check()
        raise MediaError(f"{path} {NO_VIDEO}") from e
    times_s, frames = found
    if not frames:
        raise MediaError(f"{path} holds no video frame; it may be cut short. Fetch or export it again")
    try:
        return Video(tuple(frames), times_s=tuple(times_s))
    except MediaError as e:
        raise MediaError(f"{path} cannot be used: {e}. Convert it to mp4 with a fixed size") from e


def _seek_frames(request: _Request) -> tuple[list[float], list[Picture]] | None:
    """The chosen frames with their times, each decoded from the keyframe before it; None where that fails."""
    from av.error import FFmpegError

    index = _index_packets(request)
    if index is None:
        return None
    chosen = [index.shown[i] for i in request.choose(index.shown, index.tick_s)]
    wanted = list(dict.fromkeys(chosen))
    count = _Count(request.watch, _frames_to_decode(index, wanted))
    frames: list[Picture] = []
    with opened_video(request.path, request.n_frames, request.watch) as (container, stream):
        decoded = _decoded(container, stream)
        at = index.keys[0]
        for time in wanted:
            key = _key_before(index, time)
            # Decoding on is the shorter way for as long as no keyframe lies ahead.
            try:
                if key > at:
                    container.seek(key, stream=stream)
                    decoded = _decoded(container, stream)
                frame = _advance(decoded, time, count)
            except FFmpegError:
                return None
            if frame is None:
                return None
            frames.append(picture_of(frame, stream))
            at = time
    frame_at = dict(zip(wanted, frames, strict=True))
    return [float((t - index.shown[0]) * index.tick_s) for t in chosen], [frame_at[t] for t in chosen]


def _index_packets(request: _Request) -> _Index | None:
    """The times of all frames as the packets give them; None when they do not, or cannot be trusted."""
    shown: set[int] = set()
    keys: set[int] = set()
    decoded_at = None
    n_bytes = request.path.stat().st_size
    with opened_video(request.path, request.n_frames, request.watch) as (container, stream):
        tick_s, n_packets = stream.time_base, 0
        for packet in packets(container, stream):
            request.watch.check((packet.pos or 0) / n_bytes)
            # The demuxer ends with an empty packet; edit lists mark packets that are decoded but never shown.
            n_packets += packet.size > 0
            if packet.size == 0 or packet.is_discard:
                continue
            # A clock that runs backward: two frames of one time, or a packet due before the last one.
            back = decoded_at is not None and packet.dts is not None and packet.dts < decoded_at
            if packet.pts is None or packet.pts in shown or back or packet.is_corrupt:
                return None
            decoded_at = packet.dts
            shown.add(packet.pts)
            if packet.is_keyframe:
                keys.add(packet.pts)
            _check_count(request.path, len(shown))
        times = sorted(shown)
        if not keys or tick_s is None or n_packets < declared_packets(stream):
            return None
        if ends_early(stream, float(times[-1] * tick_s)):
            return None
        if any(later - earlier > _longest_gap(container, tick_s) for earlier, later in pairwise(times)):
            return None
    return _Index(tuple(times), tuple(sorted(keys)), tick_s)


def _advance(decoded: Iterator[VideoFrame], time: int, count: _Count) -> VideoFrame | None:
    """The frame shown from `time` on, or None when the decoder passes it by or its clock runs backward."""
    before = None
    for frame in decoded:
        count.add()
        if frame.pts is None or frame.is_corrupt or (before is not None and frame.pts <= before):
            return None
        if frame.pts >= time:
            return frame if frame.pts == time else None
        before = frame.pts
    return None


def _decode_frames(request: _Request) -> tuple[list[float], list[Picture]]:
    """The chosen frames with their times, by decoding twice from the start: to count, and to take.

    Raises:
        MediaError: more than `MAX_LOST` of the packets cannot be decoded.
    """
    request.watch.next_phase()
    times: list[int | None] = []
    with opened_video(request.path, request.n_frames, request.watch) as (container, stream):
        whole = WholeStream(container, stream)
        for frame in whole.frames(request.watch):
            times.append(frame.pts)
            _check_count(request.path, len(times))
        _check_lost(request.path, whole)
        clock, tick_s = _clock(container, stream, times)
        n_lost, n_packets = whole.n_lost, whole.total  # a closed stream says nothing that holds
    chosen = request.choose(clock, tick_s) if clock else []
    count = _Count(request.watch, len(times))
    frames: dict[int, Picture] = {}
    with opened_video(request.path, request.n_frames, request.watch) as (container, stream):
        for i, frame in enumerate(WholeStream(container, stream).frames(None)):
            count.add()
            if i in chosen:
                frames[i] = picture_of(frame, stream)
    if not frames.keys() >= set(chosen):
        raise MediaError(f"{request.path} is a damaged video; fetch it again")
    if frames and n_lost:
        LOG.warning("%s: %d of %d packets are damaged and are left out", request.path, n_lost, n_packets)
    return [float((clock[i] - clock[0]) * tick_s) for i in chosen], [frames[i] for i in chosen]


def _clock(
    container: InputContainer, stream: VideoStream, times: Sequence[int | None]
) -> tuple[list[int], Fraction]:
    """When each frame is shown, and the length of a tick; counted where no clock tells it."""
    tick_s = stream.time_base
    known = [t for t in times if t is not None]
    if tick_s is not None and len(known) == len(times) and not container.format.flags & _NO_TIMESTAMPS:
        mended = mend_clock(known, _longest_gap(container, tick_s))
        if mended is not None:
            return mended, tick_s
    return list(range(len(times))), 1 / (stream.guessed_rate or stream.average_rate or Fraction(1))


class _Count:
    """Frames decoded of those that have to be; stops what takes too long."""

    def __init__(self, watch: Watch, total: int) -> None:
        self._watch, self._total, self._done = watch, max(total, 1), 0
        watch.next_phase()

    def add(self) -> None:
        self._done += 1
        self._watch.check(min(self._done / self._total, 1.0))


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    for packet in packets(container, stream):
        yield from packet.decode()


def _key_before(index: _Index, time: int) -> int:
    return index.keys[max(bisect_right(index.keys, time) - 1, 0)]


def _frames_to_decode(index: _Index, wanted: Sequence[int]) -> int:
    """How many frames have to be decoded to reach all the wanted ones."""
    total, reached = 0, -1
    for time in wanted:
        at, key = bisect_left(index.shown, time), bisect_left(index.shown, _key_before(index, time))
        total += at - max(key - 1, reached)
        reached = at
    return total


def _longest_gap(container: InputContainer, tick_s: Fraction) -> int:
    """The longest time, in ticks, that one frame may be shown."""
    seconds = LONGEST_GAP_S if container.format.flags & _TS_DISCONT else LONGEST_STILL_S
    return int(seconds / tick_s)


def _check_count(path: Path, count: int) -> None:
    if count > MAX_FRAMES:
        raise MediaError(f"{path} has more than {MAX_FRAMES} frames; cut it into parts")


def _check_lost(path: Path, whole: WholeStream) -> None:
    if whole.n_lost == whole.total > 0:
        raise MediaError(
            f"{path} has no frame that can be decoded: they are damaged, or larger than the file says; "
            f"fetch it again"
        )
    if whole.n_lost > MAX_LOST * whole.total:
        raise MediaError(
            f"{path} is damaged: {whole.n_lost} of {whole.total} packets of its video are lost; fetch or "
            f"export it again"
        )
