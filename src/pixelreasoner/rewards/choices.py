"""Multiple choice: how options are written under a question, and which option an answer chooses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pixelreasoner.rewards.answers import normalize

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_LETTER_FIRST = re.compile(r"(?:option )?(?:\(([a-z])\)|([a-z])(?:[.:)]|$)) *(.*)", re.DOTALL)
_OPTION_LINE = re.compile(r"^[ \t]*+\(?([A-Z])[).:][ \t]++(\S.*)$", re.MULTILINE)


def written_options(options: Sequence[str]) -> str:
    """The options as lines "A. rubber", "B. cotton", to stand under a question."""
    return "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))


def listed_options(question: str) -> tuple[str, ...]:
    """The options that a question lists line by line: "A. rubber", "(A) rubber", "A: rubber".

    Empty when it lists none. The letters must run from A without a gap.
    """
    found = _OPTION_LINE.findall(question)
    in_order = len(found) >= 2 and [letter for letter, _ in found] == list(LETTERS[: len(found)])
    return tuple(text.rstrip(" \t") for _, text in found) if in_order else ()


def chosen_letter(answer: str, options: Sequence[str]) -> str | None:
    """The letter of the one option that an answer chooses; None when it chooses none.

    Read are "B", "b", "(B)", "B.", "B)", "B: cotton", "B. cotton", "Option B" and "cotton". A letter goes
    first: where the options are letters themselves, "B" is the second option, whatever the options say. Text
    after a letter must be that option's own, so "B. rubber or cotton" chooses nothing. Text that two options
    share chooses nothing.

    Args:
        answer: a final answer, not the reasoning before it.
        options: their texts in order; empty when they are not known, and then only a letter alone is read.
    """
    n_letters = len(options) or len(LETTERS)
    if len(answer) == 1 and answer in LETTERS[:n_letters]:
        return answer  # the usual case, told at once
    given = _plain(answer)
    texts = [_plain(option) for option in options]
    if match := _LETTER_FIRST.fullmatch(given):
        letter = (match[1] or match[2]).upper()
        rest = _plain(match[3])
        at = LETTERS.index(letter)
        if at < n_letters and (not rest or (at < len(texts) and rest == texts[at])):
            return letter
    if given and texts.count(given) == 1:
        return LETTERS[texts.index(given)]
    return None


def _plain(text: str) -> str:
    """Normalised, without brackets and quotes around the whole: "['B']" is "b"."""
    return normalize(normalize(text).strip("[]{}'\""))
