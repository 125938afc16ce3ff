r"""Whether an answer is right, for the RL reward: exact match after harmless differences are removed.

The rule is strict on purpose. A reward that accepts answers which merely contain the reference is gamed
within a few hundred steps (the model lists every option). Benchmarks bring their own metrics in `evals`.

Removed: Unicode compatibility forms (NFKC), letter case, repeated white space, and around the whole answer
math dollars `$...$`, quotes, one pair of parentheses around a single letter, and a final period; `\text{...}`
and its font relatives become their content, `\%` and the like the bare character. Whole numbers compare as
numbers ("03", "3.0" and "3" are one). Kept: commas, units, signs, a currency dollar, word order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_FONT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf)\{([^{}]*)\}")
_ESCAPED = re.compile(r"\\([$%&#_])")
_OPTION = re.compile(r"\(\s*([a-z])\s*\)")
_WHOLE = re.compile(r"([+-]?)0*([0-9]+?)(?:\.0*)?")
_PAIRS = (("$", "$"), ('"', '"'), ("'", "'"), ("`", "`"), ("“", "”"), ("‘", "’"), ("«", "»"))  # noqa: RUF001


def is_correct(answer: str | None, references: Sequence[str]) -> bool:
    """Whether `answer` equals one of `references` once both are normalised.

    No answer, and an answer with nothing in it, is never right, whatever the references are.
    """
    given = normalize(answer or "")
    return given != "" and any(given == normalize(reference) for reference in references)


def normalize(text: str) -> str:
    """The form in which answers are compared (see the module's text)."""
    # Case folding can undo a compatibility form, hence the second NFKC.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    while (stripped := _strip_layer(text)) != text:
        text = stripped
    if option := _OPTION.fullmatch(text):
        return option[1]
    if whole := _WHOLE.fullmatch(text):
        # Text, not int(): an answer of ten thousand digits is a model's fault, not a conversion error.
        sign = "-" if whole[1] == "-" and whole[2] != "0" else ""
        return sign + whole[2]
    return text


def _strip_layer(text: str) -> str:
    """`text` without its outermost layer of markup; unchanged when it has none."""
    text = _ESCAPED.sub(r"\1", _FONT.sub(r"\1", " ".join(text.split())))
    for left, right in _PAIRS:
        if len(text) >= 2 and text.startswith(left) and text.endswith(right):
            return text[1:-1]
    return text.removesuffix(".")
