"""Pictures and videos from files, and pictures back to files.

Files come from users, so everything that can be wrong with one is a `MediaError` that names the file and
what to do about it. `core.image_files` reads the image formats, `core.video_io` the video formats.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image

from pixelreasoner.core.animations import read_animation
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.files import replacing, writing
from pixelreasoner.core.frame_sampling import Clip
from pixelreasoner.core.geometry import Size
from pixelreasoner.core.image_files import EncodedImage, check_file, inspect_image, kind_of, open_image
from pixelreasoner.core.image_formats import read_suffixes
from pixelreasoner.core.media import DECODED, Decoded, Media, Picture, Video
from pixelreasoner.core.media_limits import check_frame_bytes

N_FRAMES = 16
"""How many frames stand for a video (paper, appendix C.1)."""


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video file: the source of a picture's pixels (`core.media.PixelSource`)."""

    path: Path
    n_frames: int
    """How many frames were taken from the file."""
    index: int
    """Which of them it is, from 0."""
    size: Size
    clip: Clip | None = None
    """The part of the file that the frames are of; None for all of it."""

    def __str__(self) -> str:
        return str(self.path)

    @property
    def n_bytes(self) -> int:
        return 0

    def digest(self) -> None:
        return None

    def decode(self) -> Decoded:
        """The frame; the other ones, which are looked at next most often, are put into the cache."""
        frames, _ = _read_frames(self.path, self.n_frames, self.clip)
        if self.index >= len(frames):
            raise MediaError(f"{self.path} was changed after it was first read; restore it")
        return Decoded(frames[self.index].pixels, frames[self.index].digest)


def _read_frames(
    path: Path, n_frames: int, clip: Clip | None = None
) -> tuple[tuple[Picture, ...], tuple[float, ...]]:
    """The frames of a video or an animation and their times; the frames are in the cache too.

    Raises:
        MediaError, MissingExtraError: as `load_video`.
    """
    check_file(path)
    video = read_animation(path, n_frames)
    if video is not None and clip is not None:
        raise MediaError(f"{path} is an animation, of which no part can be taken; convert it to mp4")
    if video is None:
        if open_image(path, str(path)) is not None:
            raise MediaError(f"{path} is a still picture, not a video; give it as an image")
        if (kind := kind_of(path)) is not None:
            raise MediaError(f"{path} is {kind.what}, not a video or a picture; {kind.remedy}")
        # Late, like the import of PyAV itself: programs that only read pictures never pay for it.
        from pixelreasoner.core.video_io import read_video

        video = read_video(path, n_frames=n_frames, clip=clip)
    for frame in video.frames:
        DECODED.put(frame.digest, frame.pixels)
    return video.frames, video.times_s


def load_image(path: str | Path) -> Picture:
    """The picture in a file, upright, in RGB, at its original resolution.

    The formats of `core.image_formats`. EXIF orientation is applied, transparency is laid on white, 16-bit
    and float samples are scaled to 8 bits, and of an animation the first frame is taken. The file is decoded
    once, to see that it is whole; of PNG, JPEG and WebP the picture then keeps the path, and the pixels are
    in the cache of decoded pictures. The file has to stay as it is.

    Raises:
        MediaError: the file is missing, empty, damaged, no image, or takes more memory or time than
            `core.media_limits` allows.
        MissingExtraError: it is HEIC or HEIF, and pillow-heif is not installed.
    """
    picture = peek_image(path)
    _ = picture.pixels
    return picture


def peek_image(path: str | Path, digest: str | None = None) -> Picture:
    """As `load_image`, from the file's header alone: damage behind it shows when the pixels are read.

    With `digest`, the one it must turn out to have when they are.

    Raises:
        MediaError: the file is missing, empty, no image, or too large, or its header is damaged.
    """
    picture = open_image(Path(path), str(path), digest)
    if picture is None:
        if (kind := kind_of(Path(path))) is not None:
            raise MediaError(f"{path} is {kind.what}, not an image; {kind.remedy}")
        raise MediaError(
            f"{path} is not an image of a format that is read. If it is a video, load it as one; "
            f"otherwise convert it to PNG or JPEG"
        )
    return picture


def decode_image(content: bytes, name: str) -> Picture:
    """The picture in the bytes of an image file, as `load_image` reads a file; it keeps the bytes.

    `name` is what messages call it.

    Raises:
        MediaError: the bytes are damaged, no image, or take more than `core.media_limits` allows.
        MissingExtraError: they are HEIC or HEIF, and pillow-heif is not installed.
    """
    picture = open_image(content, name)
    if picture is None:
        kind = kind_of(content)
        what = "no image of a format that is read" if kind is None else f"{kind.what}, not an image"
        raise MediaError(f"{name} ({len(content)} bytes) is {what}; store PNG or JPEG")
    _ = picture.pixels
    return picture


def load_video(path: str | Path, *, n_frames: int = N_FRAMES, clip: Clip | None = None) -> Video:
    """`n_frames` frames of a video, from the middles of as many equal stretches of its duration.

    A frame is never given twice: a video with fewer frames gives those it has. Rotation, mirroring and the
    shape of pixels are applied, times are seconds since the first frame. Of a damaged video what can be
    decoded is taken, and the log says how much was lost. The file is decoded once; the frames then keep its
    path, and the pixels are in the cache of decoded pictures. The file has to stay as it is. `path` may also
    be an animated GIF, WebP, PNG or AVIF, or a folder of images, taken in natural order (frame2 before
    frame10) at one frame per second.

    With `clip` the frames are those of a part of the video, chosen as MVBench chooses them
    (`core.frame_sampling.segment_centres`), and of few frames some come more than once.

    Raises:
        MediaError: the file is missing, empty, holds no video, is damaged by more than a tenth, takes more
            memory or time than `core.media_limits` allows, or ends before the clip begins.
        MissingExtraError: PyAV is not installed.
    """
    path = Path(path)
    if n_frames < 1:
        raise MediaError(f"n_frames must be at least 1; got {n_frames}")
    if os.path.isdir(path):
        return _read_frame_folder(path, n_frames, clip)
    frames, times_s = _read_frames(path, n_frames, clip)
    kept = (
        Picture.of(VideoFrame(path, n_frames, i, frame.size, clip), frame.digest)
        for i, frame in enumerate(frames)
    )
    return Video(tuple(kept), times_s)


def load_media(path: str | Path, *, n_frames: int = N_FRAMES) -> Media:
    """The picture or the video at `path`, told apart by content: the file's name is not looked at.

    A folder of images is a video, and so is an animated GIF, WebP, PNG or AVIF.

    Raises:
        MediaError: as `load_image` and `load_video`.
        MissingExtraError: what reads it is not installed: PyAV for videos, pillow-heif for HEIC photos.
    """
    path = Path(path)
    if os.path.isdir(path):  # False, and not an error, for names that are too long
        return load_video(path, n_frames=n_frames)
    found = inspect_image(path, str(path))
    if found is None or found.animated:
        return load_video(path, n_frames=n_frames)
    _ = found.picture.pixels
    return found.picture


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
    # Level 1 writes PNG several times faster than the default, for files a little larger.
    image = Image.fromarray(picture.pixels)
    _write(path, lambda file: image.save(file, format=file_format, compress_level=1, quality=95))


def suffix_of(picture: Picture) -> str:
    """The suffix of the file that `keep_image` writes."""
    return picture.source.suffix if isinstance(picture.source, EncodedImage) else ".png"


def keep_image(picture: Picture, path: Path) -> None:
    """Write the file a picture came from, byte for byte, or a PNG of one that was made in memory.

    Raises:
        MediaError: the place cannot be written to, or the file is not there any more.
    """
    content = encoded(picture)
    _write(path, lambda file: file.write(content))


def encoded(picture: Picture) -> bytes:
    """The bytes of an image file: the one the picture came from, or a PNG; `decode_image` reads them back.

    Raises:
        MediaError: the file is not there any more.
    """
    return picture.source.content() if isinstance(picture.source, EncodedImage) else encode_png(picture)


def encode_png(picture: Picture) -> bytes:
    """The bytes of a PNG file of a picture, every pixel kept; `decode_image` reads them back."""
    buffer = io.BytesIO()
    Image.fromarray(picture.pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file that appears whole or not at all; the folder is created where it is missing.

    Raises:
        MediaError: the place cannot be written to.
    """
    with replacing(path, MediaError, one_of_many=True) as file, writing(path, MediaError):
        write(file)


def _read_frame_folder(folder: Path, n_frames: int, clip: Clip | None) -> Video:
    # Looks for the suffixes of images that are read, so that a stray file in the folder is no frame.
    suffixes = read_suffixes()
    try:
        files = sorted(
            (f for f in folder.iterdir() if f.suffix.lower() in suffixes and not f.name.startswith(".")),
            key=natural_order,
        )
    except OSError as e:
        raise MediaError(f"the folder {folder} cannot be read ({e.strerror}); check its permissions") from e
    if not files:
        raise MediaError(f"the folder {folder} holds no images; give a folder of frames, or a video file")
    fps = 1.0
    if clip is None:
        count = min(n_frames, len(files))
        chosen = [(2 * i + 1) * len(files) // (2 * count) for i in range(count)]
    else:
        fps = clip.fps or fps
        # Numbered from 1, as the files are.
        chosen = [number - 1 for number in clip.frames(len(files), fps, n_frames, first=1)]
        if not chosen:
            raise MediaError(
                f"{folder}: the part from {clip.start_s} s to {clip.end_s} s lies outside of its "
                f"{len(files)} frames at {fps:g} per second; check the times"
            )
    check_frame_bytes(str(folder), load_image(files[chosen[0]]).size, len(set(chosen)))
    read = {i: load_image(files[i]) for i in dict.fromkeys(chosen)}
    try:
        return Video(tuple(read[i] for i in chosen), times_s=tuple(i / fps for i in chosen))
    except MediaError as e:
        raise MediaError(f"the images in {folder} do not make a video: {e}") from e


def natural_order(path: Path) -> tuple[tuple[tuple[int, str], ...], str]:
    """A sort key under which the runs of digits in a name count as numbers."""
    runs = re.findall(r"[0-9]+|[^0-9]+", path.name)
    return tuple((int(r), "") if r.isdecimal() else (-1, r) for r in runs), path.name
