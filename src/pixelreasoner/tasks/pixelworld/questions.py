"""Questions about things, with their answers: one place, from which tasks and pre-training ask alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pixelreasoner.core.geometry import Box
from pixelreasoner.tasks.pixelworld.things import COLOURS, DIGITS, LETTERS, Dot, Thing

N_CHOICES = 4
EXAMPLE = "Which letter is on the red card: K, T, C or M?"
"""A question of this world, for messages."""
_COLOUR = f"(?:{'|'.join(COLOURS)})"
_NAME = f"the {_COLOUR} (?:card|row|board)"
_FORMS = re.compile(
    rf"which (?:letter|digit) is on the {_COLOUR} card(?:: .+)?\?"
    rf"|what is the value in the {_COLOUR} row(?:: .+)?\?"
    rf"|where is the {_COLOUR} dot relative to the {_COLOUR} dot on the {_COLOUR} board\?"
    rf"|how many {_COLOUR} dots are on the {_COLOUR} board\?"
    rf"|locate {_NAME}(?: with room around it)?\.|find the frames with {_NAME}\."
    r"|locate everything\.|read everything\.|find the frames of everything\.",
    re.IGNORECASE,
)
"""Every form of question of this world, and those of the embedded model's pre-training."""


class Place(NamedTuple):
    """Where the thing that a colour word names can be seen."""

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
    """The answer in a sentence. What the question is about is named before the answer: whoever writes the
    sentence word by word has just said what to look for."""
    about: Places = ()
    """What the colour words of the claim stand for, in order."""


def is_of_this_world(question: str) -> bool:
    """Whether a question has a form that the embedded model was taught, whatever picture goes with it."""
    return _FORMS.fullmatch(" ".join(question.split())) is not None


def read_glyph(thing: Thing, rng: np.random.Generator | None = None) -> Question:
    """`attribute`, `clip` and `page`: the character on a card, or the figure in a row.

    With a generator the question offers four choices, as those of V* do, in random order.
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
    """Where a thing as a whole is."""
    return Place((thing.box,), thing.frames)


def reading(thing: Thing) -> str:
    """What is written on it, in a sentence."""
    return f"{capital(thing.name)} reads {thing.glyph}."


def capital(name: str) -> str:
    """A name at the start of a sentence."""
    return name[0].upper() + name[1:]


def _choices(answer: str, alphabet: Sequence[str], rng: np.random.Generator) -> str:
    """`answer` among others of its alphabet: "K, T, C or M"."""
    others = [c for c in alphabet if c != answer]
    offered = [answer, *(others[i] for i in rng.permutation(len(others))[: N_CHOICES - 1])]
    *first, last = (offered[i] for i in rng.permutation(N_CHOICES))
    return f"{', '.join(first)} or {last}"


def side_of(a: Dot, b: Dot) -> str:
    """Where `a` lies as seen from `b`."""
    (ax, ay), (bx, by) = a.box.center, b.box.center
    if abs(ax - bx) > abs(ay - by):
        return "left" if ax < bx else "right"
    return "above" if ay < by else "below"


def relation(thing: Thing, *, swapped: bool = False) -> Question:
    """`relation`: left, right, above or below, for a board with two dots."""
    a, b = reversed(thing.dots) if swapped else thing.dots
    side = side_of(a, b)
    return Question(
        f"Where is the {a.colour} dot relative to the {b.colour} dot on {thing.name}?",
        side,
        f"Seen from the {b.colour} dot, the {a.colour} dot is {side}.",
        (Place((b.box,)), Place((a.box,))),
    )


def count(thing: Thing, colour: str) -> Question:
    """`count`: the dots of one colour on a board."""
    dots = Place(tuple(d.box for d in thing.dots if d.colour == colour))
    n = str(len(dots.boxes))
    claim = f"The number of {colour} dots is {n}."
    return Question(f"How many {colour} dots are on {thing.name}?", n, claim, (dots,))


def holds_pair(thing: Thing) -> bool:
    """Whether a relation can be asked of it: exactly two dots, of two colours."""
    if len(thing.dots) != 2 or thing.dots[0].colour == thing.dots[1].colour:
        return False
    (ax, ay), (bx, by) = (dot.box.center for dot in thing.dots)
    return max(abs(ax - bx), abs(ay - by)) > thing.box.width / 3  # closer ones may be on a diagonal


def questions_about(thing: Thing, rng: np.random.Generator) -> Sequence[Question]:
    """Everything that can be asked about one thing; the reading first."""
    if thing.noun != "board":
        return [read_glyph(thing, rng if rng.random() < 0.7 else None)]
    colours = sorted({d.colour for d in thing.dots})
    out = [count(thing, colours[int(rng.integers(len(colours)))])]
    if holds_pair(thing):
        out.insert(0, relation(thing, swapped=bool(rng.random() < 0.5)))
    return out
