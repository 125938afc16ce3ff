"""Questions about things, with their answers; tasks and synthetic conversations share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pixelreasoner.core.geometry import Box
from pixelreasoner.tasks.pixelworld.things import DIGITS, LETTERS, Dot, Thing

N_CHOICES = 4


class Place(NamedTuple):
    """The region of the thing that a colour word names."""

    boxes: tuple[Box, ...]
    """In pixels of the picture, or of each frame."""
    frames: tuple[int, ...] = ()
    """1-based frames of a video that show it; empty for a picture."""


Places = tuple[Place, ...]
"""One for each colour word of a text, in order."""


class Question(NamedTuple):
    text: str
    answer: str
    claim: str
    """The answer in a sentence. It names the subject of the question before the answer, so that a model can
    attend to the subject when it generates the answer."""
    about: Places = ()
    """Regions of the claim's colour words, in order."""


def read_glyph(thing: Thing, rng: np.random.Generator | None = None) -> Question:
    """Return the question of `attribute`, `clip` and `page`: the character on a card, or the digit in a row.

    With a generator, the question offers four choices in random order, as those of V* do.
    """
    alphabet = DIGITS if thing.glyph.isdigit() else LETTERS
    choices = "" if rng is None else f": {_choices(thing.glyph, alphabet, rng)}"
    if thing.noun == "row":
        text = f"What is the value in {thing.name}{choices}?"
    else:
        what = "digit" if thing.glyph.isdigit() else "letter"
        text = f"Which {what} is on {thing.name}{choices}?"
    return Question(text, thing.glyph, reading(thing), (place_of(thing),))


def place_of(thing: Thing) -> Place:
    """Return the region of a thing."""
    return Place((thing.box,), thing.frames)


def reading(thing: Thing) -> str:
    """Return its glyph in a sentence."""
    return f"{capital(thing.name)} reads {thing.glyph}."


def capital(name: str) -> str:
    """Return a name with a capital letter, for the start of a sentence."""
    return name[0].upper() + name[1:]


def _choices(answer: str, alphabet: Sequence[str], rng: np.random.Generator) -> str:
    """Return `answer` among others of its alphabet: "K, T, C or M"."""
    others = [c for c in alphabet if c != answer]
    offered = [answer, *(others[i] for i in rng.permutation(len(others))[: N_CHOICES - 1])]
    *first, last = (offered[i] for i in rng.permutation(N_CHOICES))
    return f"{', '.join(first)} or {last}"


def side_of(a: Dot, b: Dot) -> str:
    """Return the side of `b` that `a` is on."""
    (ax, ay), (bx, by) = a.box.center, b.box.center
    if abs(ax - bx) > abs(ay - by):
        return "left" if ax < bx else "right"
    return "above" if ay < by else "below"


def relation(thing: Thing, *, swapped: bool = False) -> Question:
    """Return the question of `relation`: left, right, above or below, for a board with two dots."""
    a, b = reversed(thing.dots) if swapped else thing.dots
    side = side_of(a, b)
    return Question(
        f"Where is the {a.colour} dot relative to the {b.colour} dot on {thing.name}?",
        side,
        f"Seen from the {b.colour} dot, the {a.colour} dot is {side}.",
        (Place((b.box,)), Place((a.box,))),
    )


def count(thing: Thing, colour: str) -> Question:
    """Return the question of `count`: the dots of one colour on a board."""
    dots = Place(tuple(d.box for d in thing.dots if d.colour == colour))
    n = str(len(dots.boxes))
    claim = f"The number of {colour} dots is {n}."
    return Question(f"How many {colour} dots are on {thing.name}?", n, claim, (dots,))


def holds_pair(thing: Thing) -> bool:
    """Return whether it has a relation: exactly two dots, of two colours."""
    if len(thing.dots) != 2 or thing.dots[0].colour == thing.dots[1].colour:
        return False
    (ax, ay), (bx, by) = (dot.box.center for dot in thing.dots)
    return max(abs(ax - bx), abs(ay - by)) > thing.box.width / 3  # closer ones may be on a diagonal


def questions_about(thing: Thing, rng: np.random.Generator) -> Sequence[Question]:
    """Return all questions about one thing; the reading first."""
    if thing.noun != "board":
        return [read_glyph(thing, rng if rng.random() < 0.7 else None)]
    colours = sorted({d.colour for d in thing.dots})
    out = [count(thing, colours[int(rng.integers(len(colours)))])]
    if holds_pair(thing):
        out.insert(0, relation(thing, swapped=bool(rng.random() < 0.5)))
    return out
