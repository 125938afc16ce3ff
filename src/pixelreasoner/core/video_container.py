"""Video files opened through PyAV: plain local files, known containers, nothing that they point to.

FFmpeg opens many things that are no video: playlists and descriptions of streams, which make it read other
files and addresses, still pictures, text. Only `CONTAINERS` are tried here, on a file that Python has opened,
so that FFmpeg has no way to open another.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from pixelreasoner.core.byte_cache import Pixels
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_limits import DECODING_BYTES, FileForFFmpeg, Watch, check_frame_bytes

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

CONTAINERS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "mxf", "ivf", "nut", "dv",
    "h264", "hevc", "obu", "m4v", "mpegvideo", "yuv4mpegpipe",
)  # fmt: skip
"""FFmpeg's names of the containers and bare streams that are read; `mov` is mp4 and 3gp too."""
DECODER_FRAMES = 18
"""How many frames a decoder may keep beside those that are taken."""
H264_FRAMES = 28
"""The same for H.264, which may refer to 16 and wait for as many."""
NO_VIDEO = "is neither a picture nor a video that can be read; fetch it again, or convert it to PNG or mp4"


@contextmanager
def opened_video(path: Path, n_frames: int, watch: Watch) -> Generator[tuple[InputContainer, VideoStream]]:
    """The file and its film, ready to decode, of which `n_frames` frames are to be kept.

    Raises:
        MediaError: it holds no video, or one whose frames are too large.
        FFmpegError: it cannot be opened.
    """
    import av

    options = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "none"}
    with (
        FileForFFmpeg(path, watch) as file,
        av.open(
            cast(IO[bytes], file),
            "r",
            metadata_errors="ignore",
            options=options | {"max_pixels": str(_max_pixels(n_frames, 1.0))},
            io_open=_refuse_to_open,
        ) as container,
    ):
        stream = _film(path, container)
        _check_memory(path, stream, n_frames)
        codec = stream.codec_context
        codec.options = {"max_pixels": str(_max_pixels(n_frames, 1.0))}
        # One thread: with several, FFmpeg's decoders hold a frame for each, and that of VP8 races and crashes
        # where a damaged frame changes the size.
        codec.thread_count = 1
        yield container, stream


def packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets of a stream, in the order of the file.

    Raises:
        MediaError: the file is damaged.
        FFmpegError: so is it.
    """
    try:
        yield from container.demux(stream)
    except IndexError as e:
        # A damaged file can announce new streams half-way, which PyAV looks up in the list it made before.
        raise MediaError(f"{container.name} is a damaged video; fetch it again") from e


def declared_seconds(stream: VideoStream) -> float:
    """How long a stream is, as the file says; 0 where it does not."""
    if "matroska" in stream.container.format.name:
        # Kept among the texts, as hours:minutes:seconds; the number there is that of the whole file.
        parts = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
        return 0.0 if parts is None else int(parts[1]) * 3600 + int(parts[2]) * 60 + float(parts[3])
    return float((stream.duration or 0) * (stream.time_base or 0))


def picture_of(frame: VideoFrame, stream: VideoStream) -> Picture:
    """A frame as it is shown: in RGB, with square pixels, turned and mirrored as the display matrix says.

    Where pixels are not square the larger side grows, so that nothing is lost.
    """
    ratio = float(stream.sample_aspect_ratio or 1)
    width, height = frame.width, frame.height
    size = (round(width * ratio), height) if ratio >= 1 else (width, round(height / ratio))
    check_frame_bytes(stream.container.name, size, 1)
    if size == (width, height):
        stored = frame.to_ndarray(format="rgb24")
    else:
        scaled = frame.reformat(width=size[0], height=size[1], format="rgb24", interpolation="BICUBIC")
        stored = scaled.to_ndarray()
    return Picture(np.ascontiguousarray(_displayed(np.asarray(stored, dtype=np.uint8), frame)))


def _displayed(pixels: Pixels, frame: VideoFrame) -> Pixels:
    """Pixels [H, W, 3] under a frame's display matrix, x' = ax + cy and y' = bx + dy, to a quarter turn."""
    from av.sidedata.sidedata import Type

    # A mapping by type, whatever PyAV's annotations say.
    matrix = cast(Any, frame.side_data).get(Type.DISPLAYMATRIX)
    if matrix is None or len(bytes(matrix)) < 36:
        return pixels
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(matrix), np.int32)[:5])
    upright = abs(a) + abs(d) >= abs(b) + abs(c)
    x, y = (a, d) if upright else (c, b)
    if not upright:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if y < 0 else 1, :: -1 if x < 0 else 1]


def _film(path: Path, container: InputContainer) -> VideoStream:
    """The stream that is the film: no cover and no thumbnail; the default one first, then the longest."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    streams = [s for s in container.streams.video if not s.disposition & still]
    if not streams:
        raise MediaError(f"{path} holds no video stream; give a video file (mp4, webm, ...) or an image")

    longest = max(declared_seconds(s) for s in streams)

    def rank(stream: VideoStream) -> tuple[bool, bool, float]:
        seconds = declared_seconds(stream)
        return seconds >= longest / 10, bool(stream.disposition & Disposition.default), seconds

    stream = max(streams, key=rank)
    # Where the codec is unknown PyAV leaves this out, whatever its annotations say.
    if cast(object, stream.codec_context) is None:
        raise MediaError(f"{path} is in a video format that FFmpeg cannot decode; convert it to mp4")
    return stream


def _check_memory(path: Path, stream: VideoStream, n_frames: int) -> None:
    check_frame_bytes(str(path), (stream.width, stream.height), n_frames)
    layout = cast(Any, stream.codec_context).format
    per_pixel = layout.padded_bits_per_pixel / 8 if layout is not None else 3.0
    kept = H264_FRAMES if stream.codec_context.name == "h264" else DECODER_FRAMES
    limit = _max_pixels(n_frames, per_pixel, kept)
    if stream.width * stream.height > limit:
        raise MediaError(
            f"{path} has frames of {stream.width}x{stream.height} in {layout.name if layout else 'colour'}; "
            f"the limit is {limit / 1e6:.1f} megapixels. Scale the video down"
        )


def _max_pixels(n_frames: int, bytes_per_pixel: float, kept: int = DECODER_FRAMES) -> int:
    """The largest frame, in pixels, whose decoding and results stay within `DECODING_BYTES`."""
    return int(DECODING_BYTES / (3 * n_frames + kept * bytes_per_pixel))


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise OSError(f"the file asks for another one ({url}), which is not opened")
