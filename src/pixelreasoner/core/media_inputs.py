"""What a Python program may hand over as a picture or a video, and what is made of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, SupportsFloat, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.image_files import check_no_address, open_image, picture_of
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.media_io import N_FRAMES, load_media

Source = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | npt.NDArray[Any] | Media
"""One picture or video: a path, the bytes of an image file, a file opened in binary mode, a Pillow image, an
array (`picture_from_array`, `video_from_array`), or media of this package."""
CHANNELS = (1, 3, 4)
"""Grey, RGB, RGB with transparency."""


def media_of(given: Source | Sequence[Source]) -> tuple[Media, ...]:
    """The media in one source or a sequence of them, in order.

    Raises:
        MediaError: one of them is none, or cannot be read.
        MissingExtraError: a video needs PyAV.
    """
    sources = given if isinstance(given, list | tuple) else [given]
    return tuple(_media(cast(object, source)) for source in sources)


def _media(source: Any) -> Media:
    match source:
        case Picture() | Video():
            return source
        case str() | os.PathLike():
            return _at(cast(str | os.PathLike[str], source))
        case bytes() | bytearray() | memoryview():
            return _from_bytes(bytes(cast(bytes, source)), "what the bytes hold")
        case Image.Image():
            return picture_of(source)
        case _:
            pass
    if hasattr(source, "read"):
        return _from_stream(source)
    if hasattr(source, "__array__"):
        return _from_array(_as_array(source))
    raise MediaError(
        f"{type(source).__name__} is no picture or video: give a path, the bytes of an image file, a file "
        f"opened with 'rb', a Pillow image, an array (uint8 [H, W, 3]), a Picture or a Video"
    )


def picture_from_array(array: npt.NDArray[Any]) -> Picture:
    """A picture of an array's values, which are copied.

    Args:
        array: [H, W], [H, W, 1], [H, W, 3] (RGB) or [H, W, 4] (RGB and opacity, laid on white); whole
            numbers from 0 to 255, floats from 0 to 1, or booleans.

    Raises:
        MediaError: it has another shape, or values outside of that range.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in CHANNELS):
        hint = ""
        if array.ndim == 3 and array.shape[0] in CHANNELS:
            hint = "; this one has its channels first: give array.transpose(1, 2, 0)"
        raise MediaError(
            f"an array of shape {list(array.shape)} is no picture: give [height, width, 3] or "
            f"[height, width]{hint}"
        )
    pixels = _to_bytes(array)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 4:
        return picture_of(Image.fromarray(np.ascontiguousarray(pixels)))
    return Picture(np.array(pixels, order="C"))


def video_from_array(array: npt.NDArray[Any]) -> Video:
    """A video of an array [T, H, W, C], each frame as `picture_from_array` takes it, one frame per second.

    Of more than 16 frames, 16 are taken from the middles of as many equal stretches, as from a video file.

    Raises:
        MediaError: as `picture_from_array`.
    """
    count = min(N_FRAMES, len(array))
    chosen = [(2 * i + 1) * len(array) // (2 * count) for i in range(count)]
    return Video(tuple(picture_from_array(array[i]) for i in chosen), tuple(float(i) for i in chosen))


def _at(path: str | os.PathLike[str]) -> Media:
    text = os.fspath(path)
    check_no_address(text)
    return load_media(Path(text))


def _from_stream(stream: Any) -> Media:
    """From the start of a file object, wherever it stands now: often at the end of what was written."""
    if hasattr(stream, "seekable") and stream.seekable():
        stream.seek(0)
    content = stream.read()
    if not isinstance(content, bytes):
        raise MediaError("the file was opened as text; open it with 'rb'")
    path = getattr(stream, "name", None)
    return _from_bytes(content, "what the file object holds", Path(path) if isinstance(path, str) else None)


def _from_bytes(content: bytes, name: str, path: Path | None = None) -> Media:
    """The picture in some bytes; a video is read from `path`, the file they came from, if there is one."""
    if not content:
        raise MediaError(f"{name} is empty (0 bytes); read the file again")
    picture = open_image(content, name)
    if picture is not None:
        _ = picture.pixels
        return picture
    if path is not None and path.is_file():
        return load_media(path)
    raise MediaError(
        f"{name} is no image that Pillow can read ({len(content)} bytes); give PNG or JPEG, or the path of a "
        f"video"
    )


def _as_array(source: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as e:
        # A tensor on an accelerator, or one that takes gradients, says here what to do.
        raise MediaError(f"{type(source).__name__} cannot be read as an array: {e}") from e


def _from_array(array: npt.NDArray[Any]) -> Media:
    return video_from_array(array) if array.ndim == 4 and len(array) else picture_from_array(array)


def _to_bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The values as uint8, under the convention of matplotlib: whole numbers to 255, floats to 1."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(array.dtype, np.integer):
        white, scale = 255.0, 1.0
    elif np.issubdtype(array.dtype, np.floating):
        white, scale = 1.0, 255.0
    else:
        raise MediaError(f"an array of {array.dtype} is no picture: give uint8, 0 to 255, or floats, 0 to 1")
    low, high = (float(cast(SupportsFloat, v)) for v in (array.min(initial=0), array.max(initial=0)))
    if not (low >= 0 and high <= white):
        raise MediaError(
            f"an array of {array.dtype} holds values from {low:g} to {high:g}; a picture's are 0 to "
            f"{white:g}. Scale it, or give uint8"
        )
    return np.rint(array * scale).astype(np.uint8)
