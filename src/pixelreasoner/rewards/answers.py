r"""Whether an answer is right, for the RL reward: exact match after harmless differences are removed.

The rule is strict on purpose. A reward that accepts answers which merely contain the reference is gamed
within a few hundred steps (the model lists every option). Scorers of other kinds of answers are in
`rewards.scorers`.

Removed, wherever they stand:

* letter case, repeated white space, the width and style of characters, the sort of digit, dash, minus and
  quote (`rewards.characters`);
* markup of LaTeX and Markdown, quotes around the whole, a final period (`rewards.markup`);
* blanks after the commas of a list.

Removed, where they are the whole answer:

* around a single letter: brackets, `)`, `:` and the word "option";
* of a number (`rewards.quantities`): zeros that say nothing ("03", "3.0" and "3" are one; ".5" is "0.5"), a
  plus sign, the blank before a unit ("5 cm" is "5cm"), "percent" for "%", "degrees" for "°", the place of a
  currency sign ("5 €" is "€5").

Kept: units, signs, a currency, word order, commas between digits ("12,345" is neither "12345" nor
"12, 345"), the form of a fraction ("1/2" is not "0.5"). Exponents and numeric bases stay what they are: "10²"
is "10^2" and never "102".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pixelreasoner.rewards.characters import fold
from pixelreasoner.rewards.markup import strip_markup
from pixelreasoner.rewards.quantities import one_form

MAX_CHARACTERS = 10_000
"""A longer answer is wrong, whatever it holds: the model repeats itself."""
MAX_PASSES = 8
"""Layers of markup that show only when others are gone; an answer with more of them is wrong."""

_LETTER = re.compile(r"(?:option )?(?:([a-z])|\( ?([a-z]) ?\)|\[ ?([a-z]) ?\]|\{ ?([a-z]) ?\})[):]?")
_LIST_BLANK = re.compile(r"(?<![0-9]), (?=\S)|, (?![0-9\s])")
_BRACKETED_LIST_BLANK = re.compile(r", (?=[0-9])(?![0-9]{3}(?![0-9]))")


def is_correct(answer: str | None, references: Sequence[str]) -> bool:
    """Whether `answer` equals one of `references` once both are normalised.

    No answer, one with nothing in it and one of more than `MAX_CHARACTERS` is never right, whatever the
    references are.
    """
    given = normalize(answer or "")
    return given != "" and any(given == normalize(reference) for reference in references)


def scorable(answer: str | None) -> str:
    """The answer; empty when there is none, or one of more than `MAX_CHARACTERS`."""
    return answer if answer is not None and len(answer) <= MAX_CHARACTERS else ""


def normalize(text: str) -> str:
    """The form in which answers are compared (see the module's text); normalising it again changes nothing.

    The time is linear in the text. Empty for more than `MAX_CHARACTERS`, and for more than `MAX_PASSES`
    layers of markup that hide one another.
    """
    if len(text) > MAX_CHARACTERS:
        return ""
    for _ in range(MAX_PASSES):
        before, text = text, _pass(text)
        if text == before:
            return text
    return ""


def _pass(text: str) -> str:
    """`text` after one round of all rules."""
    text = _close_up(strip_markup(fold(text)))
    if letter := _LETTER.fullmatch(text):
        return next(group for group in letter.groups() if group)
    return one_form(text)


def _close_up(text: str) -> str:
    """`text` without the blanks after the commas of a list.

    Between digits a comma may group thousands or stand for a decimal point. There the blank goes only within
    brackets, and not before three digits.
    """
    text = _LIST_BLANK.sub(",", text)
    if text[:1] + text[-1:] in ("[]", "()", "{}"):
        text = _BRACKETED_LIST_BLANK.sub(",", text)
    return text
