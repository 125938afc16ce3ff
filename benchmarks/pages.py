"""Pages of text, drawn: prose in columns, lists and tables in several faces, with a box for each character.

What is written is made up from a list of words, so that a page has numbers, names and dates to ask for.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pixelreasoner.core.geometry import Box, Size, around
from pixelreasoner.core.media import Picture

FACES = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf", "DejaVuSerif.ttf",
    "DejaVuSansMono.ttf", "STIXGeneral.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf",
)  # fmt: skip
"""Those that come with matplotlib."""
PAGE = Size(1100, 900)
TEXT_PX = (8, 24)
"""Sizes of text, in pixels."""
INK = ((20, 20, 20), (40, 45, 80), (90, 90, 90), (235, 235, 235))
PAPER = ((255, 255, 255), (246, 243, 232), (255, 255, 255), (32, 38, 52))
"""The background of each ink."""
WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from which or had
an they river valley council market bridge harvest engine record island school museum garden winter
summer station railway harbour library village mountain teacher farmer painter composer captain engineer
physician publisher festival theatre concert election committee government parliament industry factory
production agriculture population temperature rainfall distance pressure frequency membership capacity
revenue expenditure investment insurance equipment laboratory experiment measurement observation
hypothesis molecule electron bacteria protein opened closed founded visited reported described measured
increased declined recovered established completed northern southern eastern western ancient modern
annual monthly average highest lowest several different national regional international public private
independent professional traditional commercial residential during after before between against without
within across around behind beyond through under until while quickly slowly carefully usually nearly
almost perhaps although because however therefore moreover
""".split()  # noqa: SIM905
NAMES = """
Alvarez Bergstrom Castellanos Dvorak Eriksson Fitzgerald Goldberg Hashimoto Ivanova Johansson Kowalski
Lindqvist Moreau Nakamura Okafor Petersen Quintero Rosenthal Sandoval Takahashi Underwood Villanueva
Whitfield Yamamoto
""".split()  # noqa: SIM905
MONTHS = """
January February March April May June July August September October November December
""".split()  # noqa: SIM905


@dataclass(frozen=True)
class Word:
    """A word, or the part of a divided one that stands on one line."""

    text: str
    letters: tuple[Box, ...]
    """Of each character, in pixels: as wide as it is set, as high as the line's ink may be."""
    line: int

    @property
    def box(self) -> Box:
        return around(self.letters)


@dataclass(frozen=True)
class Answer:
    """Some text of a page that can be asked for; it stands there once."""

    text: str
    words: tuple[Word, ...]

    @property
    def box(self) -> Box:
        """Around all of it, in pixels."""
        return around([word.box for word in self.words])

    @property
    def letters(self) -> tuple[Box, ...]:
        """Of its letters and digits, without punctuation."""
        return tuple(
            box for word in self.words for c, box in zip(word.text, word.letters, strict=True) if c.isalnum()
        )


@dataclass(frozen=True)
class Page:
    """A drawn page."""

    picture: Picture
    answers: tuple[Answer, ...]
    face: str
    text_px: int
    form: str
    """"columns" or "table"."""


def make_page(number: int, *, seed: int = 0, size: Size = PAGE) -> Page:
    """A page that follows from its number."""
    rng = np.random.default_rng([seed, number])
    face, text_px = FACES[number % len(FACES)], int(rng.integers(*TEXT_PX, endpoint=True))
    style = int(rng.integers(len(INK)))
    desk = _Desk(size, _font(face, text_px), INK[style], PAPER[style], rng)
    form = "table" if number % 3 == 2 else "columns"
    answers = _draw_table(desk) if form == "table" else _draw_columns(desk, int(rng.integers(1, 4)))
    picture = Picture(_printed(desk.image, rng))
    return Page(picture, tuple(a for a in answers if _is_unique(a, desk.words)), face, text_px, form)


# ------------------------------------------------------------------------------------------ the drawing


@dataclass
class _Desk:
    """What is being drawn on."""

    size: Size
    font: ImageFont.FreeTypeFont
    ink: tuple[int, int, int]
    paper: tuple[int, int, int]
    rng: np.random.Generator
    words: list[Word] = field(default_factory=list)
    lines: int = 0

    def __post_init__(self) -> None:
        self.image = Image.new("RGB", self.size, self.paper)
        self._draw = ImageDraw.Draw(self.image)
        self.pitch = round(self.font.size * 1.45)
        """From line to line, in pixels."""

    def width(self, text: str) -> float:
        return self.font.getlength(text)

    def write(self, text: str, x: float, y: float) -> Word:
        """Write a word, its line beginning at `y`."""
        self._draw.text((x, y), text, fill=self.ink, font=self.font)
        ends = [x + self.width(text[:i]) for i in range(len(text) + 1)]
        _, top, _, bottom = self.font.getbbox(text)
        letters = [Box(a, y + top, b, y + bottom) for a, b in pairwise(ends)]
        self.words.append(Word(text, tuple(letters), self.lines))
        return self.words[-1]


def _draw_columns(desk: _Desk, n: int) -> list[Answer]:
    """Prose in columns, some words divided at the end of a line; answers of one to six words."""
    margin, gap = 40, 36
    width = (desk.size.width - 2 * margin - (n - 1) * gap) / n
    answers: list[Answer] = []
    for column in range(n):
        left = margin + column * (width + gap)
        placed = _draw_prose(desk, left, width)
        starts = desk.rng.choice(len(placed) - 6, min(6, len(placed) - 6), replace=False).tolist()
        for start in starts:
            chosen = placed[start : start + int(desk.rng.integers(1, 7))]
            text = " ".join(text for text, _ in chosen)
            answers.append(Answer(text, tuple(part for _, parts in chosen for part in parts)))
    return answers


def _draw_prose(desk: _Desk, left: float, width: float) -> list[tuple[str, list[Word]]]:
    """Words with the parts they are drawn in, from top to bottom of a column."""
    x, y, blank = left, 40.0, desk.width(" ")
    placed: list[tuple[str, list[Word]]] = []
    while True:
        text = _next_word(desk.rng)
        parts = [text]
        if x + desk.width(text) > left + width:
            head = _divided(text, left + width - x - desk.width("-"), desk)
            parts = [f"{head}-", text[len(head) :]] if head else ["", text]
        drawn: list[Word] = []
        for i, part in enumerate(parts):
            if i:
                x, y = left, y + desk.pitch
                desk.lines += 1
            if y + desk.pitch > desk.size.height - 30:
                return placed
            if part:
                drawn.append(desk.write(part, x, y))
                x += desk.width(part) + blank
        placed.append((text, drawn))


def _divided(text: str, room: float, desk: _Desk) -> str:
    """The part of a long word that fits, or nothing; a third of those that could be are divided."""
    if len(text) < 8 or not text.isalpha() or desk.rng.random() > 1 / 3:
        return ""
    fitting = [i for i in range(3, len(text) - 3) if desk.width(text[:i]) <= room]
    return text[: fitting[-1]] if fitting else ""


def _next_word(rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.06:
        return _number(rng)
    if kind < 0.12:
        return NAMES[int(rng.integers(len(NAMES)))]
    if kind < 0.15:
        return MONTHS[int(rng.integers(12))]
    word = WORDS[int(rng.integers(len(WORDS)))]
    end = rng.random()
    return (
        word.capitalize() if end < 0.08 else f"{word}," if end < 0.14 else f"{word}." if end < 0.22 else word
    )


def _number(rng: np.random.Generator) -> str:
    n = int(rng.integers(1, 10 ** int(rng.integers(1, 7))))
    forms = (f"{n}", f"{n:,}", f"{n / 10:.1f}", f"{n % 100}%", f"${n:,}.{n % 90 + 10}", f"{1800 + n % 225}")
    return forms[int(rng.integers(len(forms)))]


def _draw_table(desk: _Desk) -> list[Answer]:
    """Names and numbers in cells, some with lines around them; an answer is what stands in a cell."""
    n_columns = int(desk.rng.integers(3, 6))
    cell = (desk.size.width - 80) / n_columns
    height = desk.pitch + int(desk.rng.integers(2, 16))
    ruled = desk.rng.random() < 0.5
    answers: list[Answer] = []
    pen = ImageDraw.Draw(desk.image)
    for row in range(int((desk.size.height - 80) / height)):
        y = 40.0 + row * height
        for column in range(n_columns):
            left = 40 + column * cell
            if ruled:
                pen.rectangle((left, y, left + cell, y + height), outline=desk.ink)
            rng = desk.rng
            texts = [_number(rng)] if column else [NAMES[int(rng.integers(len(NAMES)))], _next_word(rng)]
            x = left + (10.0 if column == 0 else max(10.0, cell - 12 - desk.width(texts[0])))
            words: list[Word] = []
            for text in texts:
                words.append(desk.write(text, x, y + 4))
                x += desk.width(f"{text} ")
            answers.append(Answer(" ".join(texts), tuple(words)))
            desk.lines += 1
    chosen = desk.rng.choice(len(answers), min(6, len(answers)), replace=False).tolist()
    return [answers[i] for i in chosen]


def _is_unique(answer: Answer, words: list[Word]) -> bool:
    """Whether the text of an answer stands nowhere else on its page, divided or not."""
    page = " ".join(word.text for word in words).replace("- ", "").casefold()
    bare = answer.text.casefold().strip(".,")
    return page.count(bare) == 1 and any(c.isalnum() for c in bare)


def _printed(image: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """As a screenshot, or as a JPEG file keeps it."""
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(50, 95)))
        image = Image.open(buffer).convert("RGB")
    return np.asarray(image)


@lru_cache(maxsize=256)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / face), size)
