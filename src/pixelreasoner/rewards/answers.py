r"""Whether an answer is right, for the RL reward: exact match after harmless differences are removed.

The rule is strict on purpose. A reward that accepts answers which merely contain the reference is gamed
within a few hundred steps (the model lists every option). Scorers of other kinds of answers are in
`rewards.scorers`.

Removed:

* Unicode compatibility forms (NFKC), letter case, repeated white space, the sort of dash, minus and quote;
* around the whole answer: math dollars `$...$`, quotes, asterisks, a final period;
* around a single letter: brackets, `)`, `:` and the word "option";
* font commands (`\text{...}`, `\mathrm{...}`, `\mbox{...}` and their relatives) become their content, `\%`
  and the like the bare character, `^\circ` the degree sign;
* leading and trailing zeros of a number ("03", "3.0" and "3" are one; ".5" is "0.5"), the blank in "50 %",
and
  blanks after the commas of a list.

Kept: units, signs, a currency sign, word order, commas between digits ("12,345" is neither "12345" nor
"12, 345"). Exponents and numeric bases stay what they are: "10²" is "10^2" and never "102".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_FONT = re.compile(
    r"\\(?:text(?:rm|bf|it|sf|tt|sc|up|md|normal)?|math(?:rm|bf|it|sf|tt)|mbox|operatorname|emph|underline)"
    r"\s*\{([^{}]*)\}"
)
_ESCAPED = re.compile(r"\\([$%&#_])")
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-z]))")
_BRACED_EXPONENT = re.compile(r"\^\{([^{}\s]+)\}")
_LETTER = re.compile(r"(?:option )?(?:([a-z])|\( ?([a-z]) ?\)|\[ ?([a-z]) ?\]|\{ ?([a-z]) ?\})[):]?")
_NUMBER = re.compile(r"([$€£¥]?)([+-]?)([$€£¥]?)([0-9]*)(?:\.([0-9]*))?( ?%)?")
_PAIRS = (("$", "$"), ('"', '"'), ("'", "'"), ("`", "`"), ("«", "»"), ("*", "*"))
_SIGNS = {
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-"),  # hyphens, dashes, minus
    **dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u2032"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u2033"), '"'),
    ord("\u2044"): "/",  # what NFKC puts into ½
}
_RAISED = {unicodedata.lookup(f"SUPERSCRIPT {name}"): base for name, base in (
    ("ZERO", "0"), ("ONE", "1"), ("TWO", "2"), ("THREE", "3"), ("FOUR", "4"), ("FIVE", "5"), ("SIX", "6"),
    ("SEVEN", "7"), ("EIGHT", "8"), ("NINE", "9"), ("PLUS SIGN", "+"), ("MINUS", "-"),
    ("LATIN SMALL LETTER N", "n"),
)}  # fmt: skip
_RAISED_RUN = re.compile(f"[{''.join(_RAISED)}]+")
_LOWERED_RUN = re.compile("(?<=[0-9])[\u2080-\u2089]+")
_FRACTION_AFTER_DIGIT = re.compile("(?<=[0-9])(?=[\u00bc-\u00be\u2150-\u215e\u2189])")


def is_correct(answer: str | None, references: Sequence[str]) -> bool:
    """Whether `answer` equals one of `references` once both are normalised.

    No answer, and an answer with nothing in it, is never right, whatever the references are.
    """
    given = normalize(answer or "")
    return given != "" and any(given == normalize(reference) for reference in references)


def normalize(text: str) -> str:
    """The form in which answers are compared (see the module's text)."""
    text = _fold(text)
    while (stripped := _strip_layer(text)) != text:
        text = stripped
    if letter := _LETTER.fullmatch(text):
        return next(group for group in letter.groups() if group)
    return _number(text) or text


def _fold(text: str) -> str:
    """`text` in one case and one form of each character."""
    # First what NFKC would make another number: 10² is not 102, 101₂ not 1012, 5½ not 51/2.
    text = _RAISED_RUN.sub(lambda run: "^" + "".join(_RAISED[c] for c in run[0]), text)
    text = _LOWERED_RUN.sub(lambda run: "_" + unicodedata.normalize("NFKC", run[0]), text)
    text = _FRACTION_AFTER_DIGIT.sub(" ", text)
    # Case folding can undo a compatibility form, hence the second NFKC.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return text.translate(_SIGNS)


def _strip_layer(text: str) -> str:
    """`text` without its outermost layer of markup; unchanged when it has none."""
    text = _ESCAPED.sub(r"\1", _FONT.sub(r"\1", " ".join(text.split())))
    text = _BRACED_EXPONENT.sub(r"^\1", _DEGREES.sub("°", text))
    text = _close_up(text)
    for left, right in _PAIRS:
        if len(text) >= 2 and text.startswith(left) and text.endswith(right):
            return text[1:-1]
    return text.removesuffix(".")


def _close_up(text: str) -> str:
    """`text` without the blanks after the commas of a list.

    Between digits a comma may group thousands or stand for a decimal point. There the blank goes only within
    brackets, and not before three digits.
    """
    text = re.sub(r"(?<![0-9]), (?=\S)|, (?![0-9\s])", ",", text)
    if text[:1] + text[-1:] in ("[]", "()", "{}"):
        text = re.sub(r", (?=[0-9])(?![0-9]{3}(?![0-9]))", ",", text)
    return text


def _number(text: str) -> str | None:
    """`text` in the one way to write its number, or None when it is no number.

    Text, not int(): an answer of ten thousand digits is a model's fault, not a conversion error.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or not re.search("[0-9]", text) or (match[1] and match[3]):
        return None
    currency, sign, decimals = match[1] or match[3], match[2], (match[5] or "").rstrip("0")
    digits = (match[4].lstrip("0") or "0") + (f".{decimals}" if decimals else "")
    return ("-" if sign == "-" and digits != "0" else "") + currency + digits + ("%" if match[6] else "")
