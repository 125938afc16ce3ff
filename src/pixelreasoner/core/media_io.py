"""Pictures and videos from files, and pictures back to files.

Files come from users, so everything that can be wrong with one is a `MediaError` that names the file and
what to do about it. Nothing here reads more than a file's header before its size is known.
"""

from __future__ import annotations

import io
import os
import re
import struct
import uuid
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.media import Media, Picture, Pixels, Video

MAX_IMAGE_PIXELS = 2 * 89_478_485
"""The largest picture that is read, in pixels: about 179 megapixels, half a gigabyte as uint8 RGB.

The point where Pillow itself refuses a file as a decompression bomb, above any single-shot camera in common
use; repeated here so that it also holds in a program that has switched Pillow's own guard off."""

N_FRAMES = 16
"""How many frames stand for a video (paper, appendix C.1)."""

# What Pillow raises on files it cannot decode: it documents OSError and SyntaxError, and its format plugins
# index, unpack and compute with whatever numbers the file holds.
_DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, ArithmeticError, LookupError, TypeError, NotImplementedError,
    struct.error, zlib.error,
)  # fmt: skip
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)

_TURN_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each value of the EXIF orientation tag."""


def load_image(path: str | Path) -> Picture:
    """The picture in a file, upright, in RGB, at its original resolution.

    Anything Pillow opens. EXIF orientation is applied, transparency is laid on white, 16-bit and float
    samples are scaled to 8 bits, and of an animation the first frame is taken.

    Raises:
        MediaError: the file is missing, empty, damaged, no image, or larger than `MAX_IMAGE_PIXELS`.
    """
    path = Path(path)
    _check_file(path)
    picture = _read_image(path, path)
    if picture is None:
        raise MediaError(
            f"{path} is not an image that Pillow can read. If it is a video, load it as one; "
            f"otherwise convert it to PNG or JPEG"
        )
    return picture


def decode_image(content: bytes, name: str) -> Picture:
    """The picture in the bytes of an image file, as `load_image` reads a file.

    `name` is what messages call it.

    Raises:
        MediaError: the bytes are damaged, no image, or hold more than `MAX_IMAGE_PIXELS`.
    """
    picture = _read_image(io.BytesIO(content), name) if content else None
    if picture is None:
        raise MediaError(f"{name} ({len(content)} bytes) is no image that Pillow can read; store PNG or JPEG")
    return picture


def load_video(path: str | Path, *, n_frames: int = N_FRAMES) -> Video:
    """`n_frames` frames of a video, from the middles of as many equal stretches of its duration.

    A frame is never given twice: a video with fewer frames gives those it has. Rotation metadata is applied,
    times are seconds since the first frame. `path` may also be a folder of images, taken in natural order
    (frame2 before frame10) at one frame per second.

    Raises:
        MediaError: the file is missing, empty, damaged, or holds no video.
        MissingExtraError: PyAV is not installed.
    """
    path = Path(path)
    if n_frames < 1:
        raise MediaError(f"n_frames must be at least 1; got {n_frames}")
    if path.is_dir():
        return _read_frame_folder(path, n_frames)
    _check_file(path)
    # Late, like the import of PyAV itself: programs that only read pictures never pay for it.
    from pixelreasoner.core.video_io import read_video

    return read_video(path, n_frames=n_frames, max_pixels=MAX_IMAGE_PIXELS)


def load_media(path: str | Path, *, n_frames: int = N_FRAMES) -> Media:
    """The picture or the video at `path`, told apart by content: the file's name is not looked at.

    A folder of images is a video. What Pillow knows as an image (an animated GIF too) is a picture.

    Raises:
        MediaError: as `load_image` and `load_video`.
        MissingExtraError: it is not an image, and PyAV is not installed.
    """
    path = Path(path)
    if path.is_dir():
        return load_video(path, n_frames=n_frames)
    _check_file(path)
    return _read_image(path, path) or load_video(path, n_frames=n_frames)


def save_image(picture: Picture, path: str | Path) -> None:
    """Writes a picture in the format of the path's suffix; the file appears whole or not at all.

    PNG keeps every pixel. The folder is created where it is missing.

    Raises:
        MediaError: Pillow cannot write this suffix, or the place cannot be written to.
    """
    path = Path(path)
    # Registers the formats behind less common suffixes.
    file_format = Image.registered_extensions().get(path.suffix.lower())
    if file_format not in Image.SAVE:
        raise MediaError(f"cannot write {path}: unknown image suffix '{path.suffix}'; use .png or .jpg")
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Level 1 writes PNG several times faster than the default, for files a little larger.
        Image.fromarray(picture.pixels).save(part, format=file_format, compress_level=1, quality=95)
        os.replace(part, path)
    except OSError as e:
        raise MediaError(f"cannot write {path}: {e}") from e
    finally:
        if part.exists():
            part.unlink()


def encode_png(picture: Picture) -> bytes:
    """The bytes of a PNG file of a picture, every pixel kept; `decode_image` reads them back."""
    buffer = io.BytesIO()
    Image.fromarray(picture.pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise MediaError(f"{path} is a folder, not a file; give the path of one image")
    if not path.is_file():
        raise MediaError(f"{path} does not exist; check the path (the current folder is {Path.cwd()})")
    if path.stat().st_size == 0:
        raise MediaError(f"{path} is empty (0 bytes); fetch or export it again")


def _read_image(file: Path | io.BytesIO, name: Path | str) -> Picture | None:
    """The picture in a file, or None when Pillow knows no image format like it."""
    try:
        with Image.open(file) as image:
            # Pillow names the size of an MPEG stream and has no decoder for it.
            if image.format == "MPEG":
                return None
            _check_pixels(name, image.width * image.height)
            image.load()
            return Picture(_upright_rgb(image))
    except UnidentifiedImageError:
        return None
    except MediaError:
        raise
    except _BOMB as e:
        raise _too_large(name, str(e)) from e
    except _DAMAGED as e:
        raise MediaError(
            f"{name} is a damaged or unsupported image ({e}); fetch it again, or convert it to PNG"
        ) from e


def _check_pixels(name: Path | str, pixels: int) -> None:
    if pixels > MAX_IMAGE_PIXELS:
        raise _too_large(name, f"{pixels} pixels")


def _too_large(name: Path | str, detail: str) -> MediaError:
    return MediaError(
        f"{name} is too large ({detail}); the limit is {MAX_IMAGE_PIXELS // 10**6} megapixels. "
        f"Scale it down, or cut it into parts"
    )


def _upright_rgb(image: Image.Image) -> Pixels:
    turn = _TURN_UPRIGHT.get(_orientation(image))
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_to_8_bits(np.asarray(image)))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours)
    image = image.convert("RGB")
    return np.asarray(image if turn is None else image.transpose(turn))


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGED:
        # Unreadable metadata says nothing about the pixels, which are fine.
        return 1


def _to_8_bits(samples: npt.NDArray[np.generic]) -> Pixels:
    """Grey samples of 16 bits (0 to 65535) or floats (0 to 1) as uint8; other ranges are stretched to fit."""
    values = np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    white = 1.0 if np.issubdtype(samples.dtype, np.floating) else 65535.0
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > white:
        values, white = values - low, high - low
    return np.rint(values * (255.0 / white if white > 0 else 0.0)).astype(np.uint8)


def _read_frame_folder(folder: Path, n_frames: int) -> Video:
    # Looks for every suffix Pillow can read, so that a stray text file in the folder is no frame.
    suffixes = Image.registered_extensions()
    files = sorted(
        (f for f in folder.iterdir() if f.suffix.lower() in suffixes and not f.name.startswith(".")),
        key=_natural_order,
    )
    if not files:
        raise MediaError(f"the folder {folder} holds no images; give a folder of frames, or a video file")
    count = min(n_frames, len(files))
    chosen = [(2 * i + 1) * len(files) // (2 * count) for i in range(count)]
    frames = tuple(load_image(files[i]) for i in chosen)
    try:
        return Video(frames, times_s=tuple(float(i) for i in chosen))
    except MediaError as e:
        raise MediaError(f"the images in {folder} do not make a video: {e}") from e


def _natural_order(path: Path) -> tuple[tuple[tuple[int, str], ...], str]:
    """A sort key under which the runs of digits in a name count as numbers."""
    runs = re.findall(r"[0-9]+|[^0-9]+", path.name)
    return tuple((int(r), "") if r.isdecimal() else (-1, r) for r in runs), path.name
