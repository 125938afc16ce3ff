"""Pictures of a page: inlined as data URIs, scaled to their displayed size."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image

from pixelreasoner.core.geometry import Box, Size
from pixelreasoner.core.media import Picture

EXACT_PIXELS = 160 * 160
"""Up to this many pixels a picture is inlined as PNG, exact; above it as JPEG."""


@dataclass(frozen=True)
class Mark:
    """A box drawn over a figure, in percent of its sides."""

    kind: str
    """"crop" or "cue": decides the colour."""
    label: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Figure:
    """One picture ready for the page."""

    uri: str
    size: Size
    """Of the original, in pixels."""
    display_width: int
    """The widest it is shown, in CSS pixels."""
    enlarged: bool
    """Whether the picture is enlarged; the page then shows its pixels as squares."""
    label: str = ""
    note: str = ""
    marks: tuple[Mark, ...] = ()
    selected: bool = False


def figure(
    picture: Picture,
    *,
    longest: int,
    label: str = "",
    note: str = "",
    marks: tuple[Mark, ...] = (),
    selected: bool = False,
) -> Figure:
    """Return `picture` with its longest side at about `longest` CSS pixels, enlarged when it is small.

    Twice that resolution is inlined where the original has it, for high-density screens.
    """
    width, height = picture.size
    scale = longest / max(width, height)
    return Figure(
        uri=data_uri(picture, max_side=2 * longest),
        size=picture.size,
        display_width=max(1, round(width * scale)),
        enlarged=scale >= 2,
        label=label,
        note=note,
        marks=marks,
        selected=selected,
    )


def data_uri(picture: Picture, *, max_side: int, exact_pixels: int = EXACT_PIXELS) -> str:
    """Return `picture` as a data URI, scaled down to `max_side` pixels where it is larger.

    Up to `exact_pixels` it is inlined as PNG, exact; above it as JPEG.
    """
    image = Image.fromarray(picture.pixels)
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if image.width * image.height <= exact_pixels:
        image.save(buffer, "PNG", optimize=True)
        kind = "png"
    else:
        # Full chroma: pages show coloured signs of a few pixels.
        image.save(buffer, "JPEG", quality=88, subsampling=0)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


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
