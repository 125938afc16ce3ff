"""Numbers in answers: digits, thousands separators, percent signs, English number words, counts."""

from __future__ import annotations

import re
from fractions import Fraction

from pixelreasoner.rewards.answers import normalize
from pixelreasoner.rewards.quantities import UNITS

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORDS = {
    "no": 0, "none": 0,
    **{word: value for value, word in enumerate(_ONES)},
    **{word: 10 * value for value, word in enumerate(_TENS, start=2)},
    **{f"{tens}{between}{_ONES[unit]}": 10 * value + unit
       for value, tens in enumerate(_TENS, start=2) for between in "- " for unit in range(1, 10)},
}  # fmt: skip
"""From "zero" to "ninety-nine"; "no" and "none" are 0."""
MAX_DIGITS = 40
"""Longer numbers are read as text."""
MAX_NOUN_WORDS = 8
"""Words after a count: "three dogs on the left"."""

_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:(?:,[0-9]{3})+|(?:'[0-9]{3})+)(?:\.[0-9]+)?%?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]{1,2})?%?")
_COUNT = re.compile(
    r"(?P<opening>(?:so |thus |therefore |hence )?,?(?:there(?: are|'re|re| is|'s| were| was)|i(?: can)? see"
    r"|i count(?:ed)?|we(?: can)? see|(?:the|my) (?:final )?(?:answer|count|number|total)(?: number)? is"
    r"|(?:answer|count|total)(?: is|:|=)|it(?: is|'s)|a total of|in total,?|exactly|only|just) )?"
    r"(?:a total of |in total |exactly |only |just )?"
    rf"(?P<number>[+-]?[0-9][0-9,]*(?:\.[0-9]+)?|{'|'.join(sorted(WORDS, key=len, reverse=True))})"
    rf"(?P<noun>(?: [a-z][a-z'-]+| a){{0,{MAX_NOUN_WORDS}}})"
)
_OTHER_NUMBERS = frozenset(WORDS) | frozenset((
    "hundred", "hundreds", "thousand", "thousands", "million", "millions", "billion", "dozen", "dozens",
    "couple", "pair", "pairs", "score", "half", "halves", "quarter", "quarters", "point", "percent", "times",
    "st", "nd", "rd", "th", "and", "or", "to", "out", "per", "plus", "minus", "more", "less", "fewer",
    "least", "most", "almost", "nearly", "about", "around", "approximately", "roughly", "maybe", "perhaps",
    "possibly", "over", "under", "up", "if", "but", "than", "not", "nor", "isn't", "aren't", "short", "too",
))  # fmt: skip
"""Words that make another number of a count, leave it open, or take it back."""
_NO_COUNT = frozenset((
    "way", "ways", "idea", "ideas", "answer", "answers", "clue", "clues", "information", "evidence", "doubt",
    "need", "details", "telling", "reason", "indication", "image", "images", "picture", "pictures", "photo",
))  # fmt: skip
"""Words right after a "no" that says nothing of a count: "there is no way to tell"."""


def number_of(text: str) -> Fraction | None:
    """The number that is the whole of a text, exactly; None when there is more in it, or none.

    "1,000" and "1'000" are a thousand, "45%" is 45/100, "3e2" is 300. Read after `normalize`. A decimal comma
    ("3,5") and groups set off by blanks ("1 000") could be two numbers, and are none.
    """
    text = normalize(text)
    if len(text) > MAX_DIGITS:
        return None
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "").replace("'", "")
    if _NUMBER.fullmatch(text) is None:
        return None
    value = Fraction(text.removesuffix("%"))
    return value / 100 if text.endswith("%") else value


def integer_of(text: str) -> int | None:
    """The whole number that a final answer gives as its count, in digits or in words; None otherwise.

    The number stands alone ("3", "three", "3.0"), or opens a sentence that says nothing else of it: "3 dogs",
    "There are three dogs on the left.", "There are no dogs". None are: fractions, ranges, percentages,
    measures ("3 cm"), estimates ("about 3", "3 or more"), multiples ("3 dozen") and several numbers.
    """
    text = normalize(text)
    if (value := _whole(text)) is not None:
        return value
    match = _COUNT.fullmatch(text)
    if match is None:
        return None
    words = match["noun"].split()
    if not _OTHER_NUMBERS.isdisjoint(words) or (words and words[0] in UNITS - {"in"}):
        return None
    if match["number"] == "no" and (not match["opening"] or not words or not _NO_COUNT.isdisjoint(words[:2])):
        return None
    return _whole(match["number"])


def _whole(text: str) -> int | None:
    """A number alone, when it is a whole one."""
    if text in WORDS:
        return WORDS[text]
    value = None if "%" in text else number_of(text)
    return int(value) if value is not None and value.denominator == 1 else None
