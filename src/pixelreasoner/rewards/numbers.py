"""Numbers in answers: digits, thousands separators, percent signs, and English number words."""

from __future__ import annotations

import re
from fractions import Fraction

from pixelreasoner.rewards.answers import normalize

_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS = {
    "no": 0, "none": 0,
    **{word: value for value, word in enumerate(_UNITS)},
    **{word: 10 * value for value, word in enumerate(_TENS, start=2)},
    **{f"{tens}{between}{_UNITS[unit]}": 10 * value + unit
       for value, tens in enumerate(_TENS, start=2) for between in "- " for unit in range(1, 10)},
}  # fmt: skip
"""From "zero" to "ninety-nine"; "no" and "none" are 0."""
MAX_DIGITS = 40
"""Longer numbers are read as text."""

_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?%?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]{1,2})?%?")


def number_of(text: str) -> Fraction | None:
    """The number that is the whole of a text, exactly; None when there is more in it, or none.

    "1,000" is a thousand, "45%" is 45/100, "3e2" is 300. Read after `normalize`.
    """
    text = normalize(text)
    if len(text) > MAX_DIGITS:
        return None
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if _NUMBER.fullmatch(text) is None:
        return None
    value = Fraction(text.removesuffix("%"))
    return value / 100 if text.endswith("%") else value


def integer_of(text: str) -> int | None:
    """The whole number that is the whole of a text, in digits or in words; None otherwise.

    "3.0" is 3. A fraction, a range, a percentage, several numbers and a number with a noun are none.
    """
    word = normalize(text)
    if word in WORDS:
        return WORDS[word]
    value = None if "%" in word else number_of(word)
    return int(value) if value is not None and value.denominator == 1 else None
