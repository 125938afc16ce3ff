"""Composition of scenes: cards, boards, pages and clips, legible in the full image or too small for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.tasks.pixelworld import paint
from pixelreasoner.tasks.pixelworld.things import COLOURS, DIGITS, DOT_COLOURS, LETTERS, Dot, Scene, Thing

CANVASES = ((768, 768), (768, 768), (864, 672), (672, 864))
CHART_SIDES_PX = {"card": (80, 180), "row": (80, 140), "board": (170, 260)}
"""Range of the sides of things on a layout, by their noun."""
SHEET_SIDE_PX, SHEET_CARD_PX, SHEET_CARDS = (130, 260), (40, 56), 12
"""Range of the sides of a card layout and of its cards, and the number of cards to place. A card has the size
that it has in the close-up of a tiny card."""
SHEET_DIGIT_SHARE = 0.7
DIGIT_SHARE, BASE_DIGIT_SHARE = 0.25, 0.5
"""Share of cards with a handwritten digit, in tasks and in the pre-training of a base. Handwriting takes
longer to learn than print."""
ROW_ASPECT = 2.1
CLIP_SIDE_PX = 384
N_FRAMES = 16


@dataclass(frozen=True)
class Studio:
    """The inputs of a layout generator: random generator, photographs, split, and size of details."""

    rng: np.random.Generator
    photos: tuple[Image.Image, ...]
    test: bool
    tiny: bool
    digit_share: float = DIGIT_SHARE
    """Share of cards with a handwritten digit; the others have a printed letter."""

    def integers(self, low: int, high: int) -> int:
        """Return a random integer from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, items: tuple[str, ...] | list[str], n: int) -> list[str]:
        """Return `n` different items in random order."""
        return [items[i] for i in self.rng.permutation(len(items))[:n]]

    def canvas(self) -> Image.Image:
        width, height = CANVASES[self.integers(0, len(CANVASES) - 1)]
        return paint.background(self.rng, width, height, self.photos)


def cards(studio: Studio) -> Scene:
    """Paint coloured cards, each with one letter or one handwritten digit."""
    image = studio.canvas()
    draw = ImageDraw.Draw(image)
    n = studio.integers(3, 6) if studio.tiny else studio.integers(2, 4)
    sides = [studio.integers(40, 50) if studio.tiny else studio.integers(150, 230) for _ in range(n)]
    boxes = place(studio.rng, image.size, [(s, s) for s in sides])
    things = [
        card(studio, image, draw, box, colour)
        for box, colour in zip(boxes, studio.pick(tuple(COLOURS), len(boxes)), strict=True)
    ]
    return Scene(Picture(np.asarray(image)), tuple(things))


def chart(studio: Studio) -> Scene:
    """Paint a layout: many things of all kinds, for token labels. Colours repeat, so it has no questions."""
    image = studio.canvas()
    draw = ImageDraw.Draw(image)
    nouns = [("card", "row", "board")[i] for i in studio.rng.choice(3, 26, p=(0.35, 0.4, 0.25)).tolist()]
    things: list[Thing] = []
    for noun in nouns:
        side = studio.integers(*CHART_SIDES_PX[noun])
        shape = (side * ROW_ASPECT, side) if noun == "row" else (side, side)
        for box in place(studio.rng, image.size, [shape], taken=[t.box for t in things]):
            things.append(_chart_thing(studio, image, draw, noun, box))
    return Scene(Picture(np.asarray(image)), tuple(things))


def sheet(studio: Studio) -> Scene:
    """Paint a card layout: many cards of the size in close-ups, most of them handwritten, for token labels.

    Handwriting is learned slowly, and close-ups hold one card each, which are too few examples per batch.
    """
    side = studio.integers(*SHEET_SIDE_PX)
    image = paint.background(studio.rng, side, side, studio.photos)
    draw = ImageDraw.Draw(image)
    sides = [studio.integers(*SHEET_CARD_PX) for _ in range(SHEET_CARDS)]
    things = [
        card(studio, image, draw, box, studio.pick(tuple(COLOURS), 1)[0])
        for box in place(studio.rng, image.size, [(s, s) for s in sides])
    ]
    return Scene(Picture(np.asarray(image)), tuple(things))


def _chart_thing(studio: Studio, image: Image.Image, draw: ImageDraw.ImageDraw, noun: str, box: Box) -> Thing:
    if noun == "board":
        colour = studio.pick([c for c in COLOURS if c != "white"], 1)[0]
        return board(studio, draw, box, colour, pair=bool(studio.rng.random() < 0.5))
    if noun == "row":
        shade = tuple(int(c) for c in studio.rng.integers(232, 256, 3))
        draw.rectangle((box.x1, box.y1, box.x2 - 1, box.y2 - 1), fill=shade)
        return _row(studio, draw, box, studio.pick([c for c in COLOURS if c != "white"], 1)[0])
    return card(studio, image, draw, box, studio.pick(tuple(COLOURS), 1)[0])


def card(
    studio: Studio,
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    box: Box,
    colour: str,
) -> Thing:
    """Paint one card, with a handwritten digit or a printed letter."""
    ink = paint.ink_on(colour)
    paint.panel(draw, box, COLOURS[colour], edge=ink)
    inner = Box(box.x1, box.y1 + box.height * 0.2, box.x2, box.y2 - box.height * 0.2)
    if studio.rng.random() < studio.digit_share:
        text = studio.pick(DIGITS, 1)[0]
        inner = inner.pad(box.height * 0.08)  # handwriting has a margin; match the printed height
        paint.handwritten(image, inner, text, studio.rng, test=studio.test, ink=ink)
    else:
        text = studio.pick(LETTERS, 1)[0]
        paint.glyph(draw, inner, text, studio.pick(paint.FONT_FILES, 1)[0], ink)
    return Thing("card", colour, box, detail_px=box.height * 0.6, glyph=text)


def boards(studio: Studio, *, relational: bool | None = None) -> Scene:
    """Paint white boards in coloured frames, with coloured dots on them.

    `relational` selects boards of exactly two dots (True), of several (False), or for a mixture (None).
    """
    image = studio.canvas()
    draw = ImageDraw.Draw(image)
    n = studio.integers(2, 4) if studio.tiny else studio.integers(1, 2)
    sides = [studio.integers(48, 60) if studio.tiny else studio.integers(250, 340) for _ in range(n)]
    boxes = place(studio.rng, image.size, [(s, s) for s in sides])
    frames = studio.pick([c for c in COLOURS if c != "white"], len(boxes))
    pairs = [studio.rng.random() < 0.5 if relational is None else relational for _ in boxes]
    things = [
        board(studio, draw, box, colour, pair=pair)
        for box, colour, pair in zip(boxes, frames, pairs, strict=True)
    ]
    return Scene(Picture(np.asarray(image)), tuple(things))


def board(studio: Studio, draw: ImageDraw.ImageDraw, box: Box, colour: str, *, pair: bool) -> Thing:
    """Paint one board: a pair of dots for a relation, or 2 to 7 dots to count, on a jittered 4x4 grid."""
    edge = box.height * 0.12
    draw.rectangle((box.x1, box.y1, box.x2 - 1, box.y2 - 1), fill=COLOURS[colour])
    inner = box.pad(-edge)
    draw.rectangle((inner.x1, inner.y1, inner.x2 - 1, inner.y2 - 1), fill=COLOURS["white"])
    asked, other = studio.pick(DOT_COLOURS, 2)
    if pair:
        colours, cells = [asked, other], np.array(_aligned_cells(studio.rng))
    else:
        colours = [asked] * studio.integers(1, 5) + [other] * studio.integers(1, 3)
        cells = studio.rng.permutation(16)[: len(colours)]
    pitch, radius = inner.width / 4, inner.width / 4 * 0.31
    dots = []
    for cell, dot_colour in zip(cells.tolist(), colours, strict=True):
        jitter = studio.rng.uniform(-0.12, 0.12, 2) * pitch
        cx = inner.x1 + (cell % 4 + 0.5) * pitch + jitter[0]
        cy = inner.y1 + (cell // 4 + 0.5) * pitch + jitter[1]
        spot = Box(cx - radius, cy - radius, cx + radius, cy + radius)
        draw.ellipse((spot.x1, spot.y1, spot.x2, spot.y2), fill=COLOURS[dot_colour])
        dots.append(Dot(dot_colour, spot))
    return Thing("board", colour, box, detail_px=2 * radius, dots=tuple(dots))


def _aligned_cells(rng: np.random.Generator) -> tuple[int, int]:
    """Return two grid cells in one row or one column, at least two apart: the relation is unambiguous."""
    near = int(rng.integers(0, 2))
    far = near + int(rng.integers(2, 4 - near))
    lane = int(rng.integers(4))
    pair = (near, far) if rng.random() < 0.5 else (far, near)
    return (pair[0] + 4 * lane, pair[1] + 4 * lane) if rng.random() < 0.5 else (
        lane + 4 * pair[0], lane + 4 * pair[1])  # fmt: skip


def page(studio: Studio) -> Scene:
    """Paint a page like an infographic: a headline, grey text, and rows of icon and digit."""
    width, height = (640, 832) if studio.rng.random() < 0.7 else (832, 640)
    image = Image.new("RGB", (width, height), tuple(int(c) for c in studio.rng.integers(232, 256, 3)))
    draw = ImageDraw.Draw(image)
    accent = COLOURS[studio.pick([c for c in COLOURS if c not in ("white", "black")], 1)[0]]
    draw.rectangle((0, 0, width, 56), fill=accent)
    _grey_lines(studio, draw, Box(30, 18, width * 0.6, 40), shade=245)
    n = studio.integers(4, 6) if studio.tiny else studio.integers(2, 3)
    row_h = studio.integers(28, 34) if studio.tiny else studio.integers(140, 180)
    boxes = place(studio.rng, (width, height), [(row_h * ROW_ASPECT, row_h)] * n, top=76)
    names = studio.pick([c for c in COLOURS if c != "white"], len(boxes))
    things = [_row(studio, draw, box, colour) for box, colour in zip(boxes, names, strict=True)]
    _fill_with_text(studio, draw, image.size, boxes)
    return Scene(Picture(np.asarray(image)), tuple(things))


def _row(studio: Studio, draw: ImageDraw.ImageDraw, box: Box, colour: str) -> Thing:
    """Paint a coloured icon and a printed digit beside it."""
    icon = Box(box.x1, box.y1, box.x1 + box.height, box.y2)
    draw.ellipse((icon.x1, icon.y1, icon.x2, icon.y2), fill=COLOURS[colour])
    digit = studio.pick(DIGITS, 1)[0]
    figure = Box(icon.x2, box.y1 + box.height * 0.18, box.x2, box.y2 - box.height * 0.18)
    paint.glyph(draw, figure, digit, studio.pick(paint.FONT_FILES, 1)[0], (20, 20, 20))
    return Thing("row", colour, box, detail_px=figure.height, glyph=digit)


def _grey_lines(studio: Studio, draw: ImageDraw.ImageDraw, box: Box, *, shade: int) -> None:
    """Paint a line of placeholder text: grey bars of word length."""
    x = box.x1
    while x < box.x2 - 10:
        w = studio.integers(14, 60)
        draw.rectangle((x, box.y1, min(x + w, box.x2), box.y2), fill=(shade, shade, shade))
        x += w + 8


def _fill_with_text(
    studio: Studio, draw: ImageDraw.ImageDraw, size: tuple[int, int], taken: Sequence[Box]
) -> None:
    """Paint placeholder lines between the rows."""
    for y in range(84, size[1] - 20, 26):
        line = Box(28, y, size[0] - 28, y + 8)
        if studio.rng.random() < 0.8 and not any(line.pad(6).overlaps(box) for box in taken):
            _grey_lines(studio, draw, line, shade=200)


def clip(studio: Studio) -> Scene:
    """Paint sixteen frames over a panning background; each card appears for a few frames, one at a time."""
    rng, side = studio.rng, CLIP_SIDE_PX
    wide = paint.background(rng, side + 96, side, studio.photos)
    frames = [wide.crop((i * 6, 0, i * 6 + side, side)) for i in range(N_FRAMES)]
    n = studio.integers(2, 3)
    spans = _spans(rng, n)
    things = []
    for span, colour in zip(spans, studio.pick(tuple(COLOURS), n), strict=True):
        edge = studio.integers(68, 78) if studio.tiny else studio.integers(200, 250)
        x, y = studio.integers(8, side - edge - 8), studio.integers(8, side - edge - 8)
        box = Box(x, y, x + edge, y + edge)
        stamp = Image.new("RGB", (side, side))
        thing = card(studio, stamp, ImageDraw.Draw(stamp), box, colour)
        patch = stamp.crop((x, y, x + edge, y + edge))
        for index in span:
            frames[index - 1].paste(patch, (x, y))
        things.append(Thing("card", colour, box, thing.detail_px, glyph=thing.glyph, frames=tuple(span)))
    video = Video(tuple(Picture(np.asarray(f)) for f in frames), tuple(float(i) for i in range(N_FRAMES)))
    return Scene(video, tuple(things))


def _spans(rng: np.random.Generator, n: int) -> list[range]:
    """Return `n` disjoint runs of two or four frames (1-based), in random order.

    They start at odd frames: a temporal patch is a pair of frames, and both then show the card.
    """
    slots = rng.permutation(N_FRAMES // 4)[:n]
    out = []
    for slot in slots.tolist():
        first, length = [(1, 2), (3, 2), (1, 4)][int(rng.integers(3))]
        start = slot * 4 + first
        out.append(range(start, start + length))
    return out


def place(
    rng: np.random.Generator,
    size: tuple[int, int],
    shapes: Sequence[tuple[float, float]],
    *,
    top: int = 8,
    taken: Sequence[Box] = (),
) -> list[Box]:
    """Return boxes of the given (width, height) that touch neither each other nor those `taken`.

    Boxes without a free position are left out.
    """
    boxes: list[Box] = []
    for w, h in shapes:
        for _ in range(60):
            x = float(rng.integers(8, int(size[0] - w - 8)))
            y = float(rng.integers(top, int(size[1] - h - 8)))
            box = Box(x, y, x + w, y + h)
            if not any(box.pad(14).overlaps(other) for other in (*taken, *boxes)):
                boxes.append(box)
                break
    return boxes
