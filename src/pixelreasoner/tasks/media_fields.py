"""Images and videos as a row of a task file gives them.

An image is one of

* a path, relative to the folder of the task file, or absolute;
* its content in base64: a data URI, `{base64: ...}`, or text that begins as PNG, JPEG, GIF and WebP do in
base64;
* its content as bytes, in a table; or `{bytes, path}`, as the library `datasets` writes an image.

A video is a path to a file or to a folder of frames, a list of frames (each an image), `{frames, times_s}`
with the time of each frame in seconds, or a part of a file or a folder: `{path, start_s, end_s, fps}`
(`core.frame_sampling.Clip`; `fps` is for folders).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pixelreasoner.core.errors import MediaError, MissingExtraError, RecordError
from pixelreasoner.core.frame_sampling import Clip
from pixelreasoner.core.image_files import check_no_address
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.media_io import decode_image, load_image, load_video

_DATA_URI = re.compile(r"data:[\w/+.-]*;base64,")
_BASE64_OF_IMAGE = re.compile(r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR)[A-Za-z0-9+/\s]{40,}={0,2}\s*")
"""How PNG, JPEG, GIF and WebP begin. A path has a suffix, and base64 no dot."""
MAX_NAME_BYTES = 255
CLIP_FIELDS = frozenset(("path", "start_s", "end_s", "fps"))


def read_image(value: Any, folder: Path, field: str) -> Picture:
    """The image a field holds.

    Raises:
        RecordError: the field is named, and what is wrong with the image.
    """
    try:
        content = _content(value)
        if isinstance(content, bytes):
            return decode_image(content, "the image")
        return load_image(folder / content)
    except MediaError as e:
        raise RecordError(f"{field}: {e}") from e


def read_video(value: Any, folder: Path, field: str, n_frames: int) -> Video:
    """The video a field holds: `n_frames` frames of a file or a folder, every frame of a list.

    Raises:
        RecordError: the field is named, and what is wrong with the video.
    """
    times: Sequence[float] = ()
    clip = None
    if isinstance(value, Mapping):
        table = cast(Mapping[str, Any], value)
        allowed = CLIP_FIELDS if "path" in table else {"frames", "times_s"}
        if unknown := sorted(table.keys() - allowed):
            raise RecordError(
                f"{field}: unknown field '{unknown[0]}'; a video has 'frames' and 'times_s', or 'path', "
                f"'start_s', 'end_s' and 'fps'"
            )
        if "path" in table:
            value, clip = table["path"], _clip(table, field)
        else:
            value, times = table.get("frames"), table.get("times_s") or ()
    try:
        if isinstance(value, str):
            return load_video(folder / _path(value), n_frames=n_frames, clip=clip)
        if not isinstance(value, (list, tuple)):
            raise MediaError("give a path, a list of frames, or an object with 'frames' and 'times_s'")
        frames = cast(Sequence[Any], value)
        pictures = tuple(read_image(f, folder, f"{field}.frames[{i}]") for i, f in enumerate(frames))
        return Video(pictures, tuple(float(t) for t in times))
    except (MediaError, MissingExtraError, TypeError) as e:
        raise RecordError(f"{field}: {e}") from e


def _clip(table: Mapping[str, Any], field: str) -> Clip:
    """The part of a video that a row names."""
    numbers = {name: table[name] for name in ("start_s", "end_s", "fps") if table.get(name) is not None}
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise RecordError(f"{field}.{name}: {number!r} is no number of seconds or frames")
    return Clip(**numbers)


def video_row(video: Video, put: Callable[[Picture], Any]) -> dict[str, Any]:
    """A video as its frames and their times; `put` gives what stands for a frame."""
    return {"frames": [put(frame) for frame in video.frames], "times_s": list(video.times_s)}


def _content(value: Any) -> bytes | str:
    """The bytes of an image, or the path to it."""
    if isinstance(value, Mapping):
        table = cast(Mapping[str, Any], value)
        if (content := table.get("bytes")) is not None:
            return _content(content)
        if (text := table.get("base64")) is not None:
            uri = _DATA_URI.match(str(text))
            return _decoded(str(text)[uri.end() if uri else 0 :])
        value = table.get("path")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if not isinstance(value, str):
        raise MediaError(f"{type(value).__name__} where a path, base64 text or bytes are needed")
    if uri := _DATA_URI.match(value):
        return _decoded(value[uri.end() :])
    if _BASE64_OF_IMAGE.fullmatch(value):
        return _decoded(value)
    return _path(value)


def _path(text: str) -> str:
    check_no_address(text)
    # The system refuses to look for longer names, with an error of its own.
    if any(len(part.encode(errors="replace")) > MAX_NAME_BYTES for part in re.split(r"[/\\\\]", text)):
        raise MediaError(f"'{text[:40]}...' is neither a path nor an image in base64")
    return text


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as e:
        raise MediaError(
            f"the base64 text cannot be decoded ({e}); fetch the file again, or take the row out"
        ) from e
