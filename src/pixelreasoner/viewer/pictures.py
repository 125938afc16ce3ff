"""Pictures of a page, scaled to their displayed size: inlined as data URIs, or files beside the page."""

from __future__ import annotations

import base64
import io
import os
import re
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pixelreasoner.core.files import replacing
from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.media import Picture

EXACT_PIXELS = 160 * 160
"""Up to this many pixels a picture is a PNG, exact; above it a JPEG."""
PENDING = 32
"""Pictures encoded at a time, at most."""
FILE_NAME = re.compile(r"[0-9a-f]{32}-[0-9]+x[0-9]+\.(png|jpeg)")
"""The names that `PictureFiles` gives."""


@dataclass(frozen=True)
class Mark:
    """A box drawn over a figure, in percent of its sides."""

    kind: str
    """"cue", or a role of `viewer.roles`: decides the colour."""
    label: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Figure:
    """One picture ready for the page."""

    picture: Picture
    longest: int
    """Its longest side on the page, in CSS pixels, at most."""
    display_width: int
    """The widest it is shown, in CSS pixels."""
    enlarged: bool
    """Whether the picture is enlarged; the page then shows its pixels as squares."""
    label: str = ""
    note: str = ""
    marks: tuple[Mark, ...] = ()
    selected: bool = False
    role: str = ""
    """Of the operation that selected it."""
    alt: str = ""
    """What it is, for who does not see it."""

    @property
    def size(self) -> Size:
        """Of the original, in pixels."""
        return self.picture.size


FigureUri = Callable[[Figure], str]
"""From a figure to the address of its picture."""


def figure(
    picture: Picture,
    *,
    longest: int,
    label: str = "",
    note: str = "",
    marks: tuple[Mark, ...] = (),
    selected: bool = False,
    role: str = "",
    alt: str = "",
) -> Figure:
    """Return `picture` with its longest side at about `longest` CSS pixels, enlarged when it is small.

    The page gets twice that resolution where the original has it, for high-density screens.
    """
    width, height = picture.size
    scale = longest / max(width, height)
    return Figure(
        picture=picture,
        longest=longest,
        display_width=max(1, round(width * scale)),
        enlarged=scale >= 2,
        label=label,
        note=note,
        marks=marks,
        selected=selected,
        role=role,
        alt=alt or _alt(label, note, marks),
    )


def _alt(label: str, note: str, marks: tuple[Mark, ...]) -> str:
    """Return the words of a figure: "Image 1, 640 × 480, with crop 2 and the evidence marked"."""
    names = ["the evidence" if m.kind == "cue" else f"crop {m.label}" for m in marks]
    marked = f"with {' and '.join(names)} marked" if names else ""
    return ", ".join(part for part in (label, note, marked) if part)


def data_uri(figure: Figure) -> str:
    """Return the picture of a figure as a data URI."""
    return inline(*encode(figure.picture, max_side=2 * figure.longest))


def inline(kind: str, content: bytes) -> str:
    """Return an encoded picture as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


class PictureFiles:
    """Pictures as files in a folder, each once per displayed size, named by content.

    A context manager: pictures are encoded in threads, and all are there when it ends.
    """

    def __init__(self, folder: Path) -> None:
        """Pictures in `folder`, which exists; those that are there already are not written again."""
        self.folder = folder
        self.names: set[str] = set()
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="pictures")
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> PictureFiles:
        return self

    def __exit__(self, *exc: object) -> None:
        self._threads.shutdown(cancel_futures=exc[0] is not None)
        while self._pending and exc[0] is None:
            self._pending.popleft().result()

    def uri(self, figure: Figure) -> str:
        """Return the address of a figure's picture, relative to the folder's parent.

        Raises:
            MediaError: the file of an earlier picture is damaged or gone.
            OSError: an earlier picture could not be written.
        """
        picture, max_side = figure.picture, 2 * figure.longest
        size = _scaled_size(picture.size, max_side)
        name = f"{picture.digest}-{size.width}x{size.height}.{_kind(size)}"
        if name not in self.names:
            self.names.add(name)
            while len(self._pending) >= PENDING:
                self._pending.popleft().result()
            self._pending.append(self._threads.submit(self._write, picture, max_side, name))
        return f"{self.folder.name}/{name}"

    def _write(self, picture: Picture, max_side: int, name: str) -> None:
        path = self.folder / name
        if path.exists():
            return
        with replacing(path, one_of_many=True) as file:
            file.write(encode(picture, max_side=max_side)[1])


def encode(picture: Picture, *, max_side: int, exact_pixels: int = EXACT_PIXELS) -> tuple[str, bytes]:
    """Return ("png" or "jpeg", the file) of a picture, scaled down to `max_side` pixels where larger.

    Up to `exact_pixels` it is a PNG, exact.
    """
    size = _scaled_size(picture.size, max_side)
    image = Image.fromarray(picture.pixels)
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    kind = _kind(size, exact_pixels)
    # Full chroma: pages show coloured signs of a few pixels.
    options = {"optimize": True} if kind == "png" else {"quality": 88, "subsampling": 0}
    image.save(buffer, kind, **options)
    return kind, buffer.getvalue()


def _kind(size: Size, exact_pixels: int = EXACT_PIXELS) -> str:
    return "png" if size.width * size.height <= exact_pixels else "jpeg"


def _scaled_size(size: Size, max_side: int) -> Size:
    """Return the size within `max_side`, with the aspect ratio kept."""
    scale = min(1.0, max_side / max(size))
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


def mark(kind: str, label: str, box: Box, size: Size) -> Mark:
    """Return `box` (pixels of an image of `size`) as a mark."""
    box = box.clip(size)
    x, y = 100 / size.width, 100 / size.height
    return Mark(
        kind,
        label,
        round(box.x1 * x, 3),
        round(box.y1 * y, 3),
        round(box.width * x, 3),
        round(box.height * y, 3),
    )
