"""Painting: backgrounds, cards, boards and pages. Pillow only; every draw comes from the generator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from pixelreasoner.core.errors import MediaError, MissingExtraError
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media_io import load_image
from pixelreasoner.tasks.pixelworld.things import COLOURS, DIGITS

FONT_FILES = ("DejaVuSans-Bold.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSerif-Bold.ttf")
BUNDLED_PHOTOS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "grass.png",
    "gravel.png", "hubble_deep_field.jpg", "moon.png", "rocket.jpg",
)  # fmt: skip
"""Photographs of scikit-image's wheel that are CC0 or in the public domain."""
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
PHOTO_SIDE_PX = 1024
"""Backgrounds are kept at this size at most: they are scenery, and stay in memory."""


@lru_cache(maxsize=256)
def font(name: str, size_px: int) -> ImageFont.FreeTypeFont:
    """A bold face that ships with matplotlib, so that glyphs are the same on every machine."""
    try:
        import matplotlib
    except ImportError as e:
        raise MissingExtraError("matplotlib", "world", "Drawing PixelWorld's letters") from e
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size_px)


@lru_cache(maxsize=1)
def handwritten_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """scikit-learn's handwritten digits as ink, uint8 [N, 8, 8] (255 = ink), and their labels [N]."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise MissingExtraError("scikit-learn", "world", "Drawing handwritten digits") from e
    flat, labels = load_digits(return_X_y=True)
    ink = np.clip(np.asarray(flat).reshape(-1, 8, 8) * 16.0, 0, 255)  # drawn on a scale of 0 to 16
    return ink.astype(np.uint8), np.asarray(labels).astype(np.int64)


@lru_cache(maxsize=8)
def photographs(folder: Path | None) -> tuple[Image.Image, ...]:
    """The background photographs: the user's own, or those bundled with scikit-image.

    Raises:
        MediaError: `folder` is no folder, or holds no image.
    """
    if folder is None:
        try:
            import skimage
        except ImportError as e:
            raise MissingExtraError("scikit-image", "world", "PixelWorld's photographs") from e
        paths = [Path(skimage.__file__).parent / "data" / name for name in BUNDLED_PHOTOS]
    else:
        try:
            paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES)
        except OSError as e:
            raise MediaError(f"the folder of photographs {folder} cannot be read: {e.strerror}") from e
        if not paths:
            raise MediaError(f"no images in {folder}: give --photos a folder that holds some")
    photos = [Image.fromarray(load_image(p).pixels) for p in paths]
    for photo in photos:
        photo.thumbnail((PHOTO_SIDE_PX, PHOTO_SIDE_PX))
    return tuple(photos)


def texture(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A procedural background: smooth colour noise at a random scale, with fainter, finer noise on top."""
    cells = int(rng.integers(2, 9))
    base = rng.integers(60, 200, 3)
    coarse = base + rng.normal(0, 34, (cells, cells, 3))
    fine = rng.normal(0, float(rng.uniform(3, 16)), (cells * 6, cells * 6, 1))
    layers = [
        np.asarray(
            Image.fromarray(np.clip(layer, 0, 255).astype(np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            dtype=np.float32,
        )
        for layer in (coarse, np.repeat(128 + fine, 3, axis=2))
    ]
    return Image.fromarray(np.clip(layers[0] + layers[1] - 128, 0, 255).astype(np.uint8))


def photo_patch(
    rng: np.random.Generator, width: int, height: int, photos: Sequence[Image.Image]
) -> Image.Image:
    """A random region of a random photograph, mirrored half of the time."""
    photo = photos[int(rng.integers(len(photos)))]
    scale = float(rng.uniform(0.55, 1.0)) * min(photo.width / width, photo.height / height)
    w, h = int(width * scale), int(height * scale)
    x, y = int(rng.integers(photo.width - w + 1)), int(rng.integers(photo.height - h + 1))
    patch = photo.resize((width, height), Image.Resampling.BILINEAR, box=(x, y, x + w, y + h))
    return patch.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else patch


def background(
    rng: np.random.Generator, width: int, height: int, photos: Sequence[Image.Image]
) -> Image.Image:
    """A texture or a photograph, each half of the time."""
    if rng.random() < 0.5:
        return texture(rng, width, height)
    return photo_patch(rng, width, height, photos)


def ink_on(colour: str) -> tuple[int, int, int]:
    """Black or white, whichever reads better on `colour` (Rec. 601 luma)."""
    r, g, b = COLOURS[colour]
    return (15, 15, 15) if 0.299 * r + 0.587 * g + 0.114 * b > 120 else (250, 250, 250)


def glyph(draw: ImageDraw.ImageDraw, box: Box, text: str, face: str, ink: tuple[int, int, int]) -> None:
    """`text` centred in `box`, its capital height filling the box's height."""
    size_px = max(4, round(box.height / 0.73))  # DejaVu's capitals are 0.73 em high
    draw.text(box.center, text, font=font(face, size_px), fill=ink, anchor="mm")


def handwritten(
    image: Image.Image,
    box: Box,
    digit: str,
    rng: np.random.Generator,
    *,
    test: bool,
    ink: tuple[int, int, int],
) -> None:
    """A real handwritten `digit` in `box`. Test scenes use writing that training scenes never show.

    In training scenes it is tilted and stretched a little: 140 pieces of writing per digit are few.
    """
    images, labels = handwritten_digits()
    pool = np.flatnonzero(labels == DIGITS.index(digit))
    cut = int(len(pool) * 0.8)
    pool = pool[cut:] if test else pool[:cut]
    mask = Image.fromarray(images[int(rng.choice(pool))])
    side = max(4, round(box.height))
    mask = mask.resize((side, side), Image.Resampling.BICUBIC)
    if not test:
        mask = _bent(mask, rng)
    cx, cy = box.center
    image.paste(ink, (round(cx - side / 2), round(cy - side / 2)), mask)


def _bent(mask: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The square `mask` under a random affine map about its centre: turned, slanted, stretched a little."""
    angle, slant = rng.uniform(-0.17, 0.17), rng.uniform(-0.15, 0.15)
    wide, high = rng.uniform(0.9, 1.15, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = np.linalg.inv(turn @ np.array([[wide, slant], [0.0, high]]))  # PIL asks where a pixel comes from
    centre = np.full(2, mask.width / 2)
    dx, dy = centre - back @ centre
    coefficients = (back[0, 0], back[0, 1], dx, back[1, 0], back[1, 1], dy)
    return mask.transform(mask.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)


def panel(
    draw: ImageDraw.ImageDraw, box: Box, fill: tuple[int, int, int], *, edge: tuple[int, int, int]
) -> None:
    """A filled rectangle with a thin edge that sets it off from any background."""
    width = max(1, round(box.height * 0.04))
    draw.rectangle((box.x1, box.y1, box.x2 - 1, box.y2 - 1), fill=fill, outline=edge, width=width)
