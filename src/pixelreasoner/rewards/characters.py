"""One form of each character: case, width, digits, signs; exponents and fractions keep their meaning.

Unicode's compatibility form (NFKC) makes one of characters that look alike, and with them of some that do not
mean the same: "10²" becomes "102", "5½" becomes "51/2", "1①" becomes "11". What NFKC would join to its
neighbours is therefore written out first::

    10²  10^2        10²5  10^{2}5        x⁽²⁺³⁾  x^{(2+3)}        101₂  101_2
    5½   5 1/2       ½5    1/2 5          1/½     1/(1/2)          1①    1 1

Raised letters are exponents too ("xⁿ" is "x^n"), but for ordinals ("1ˢᵗ", "2º") and trade marks. Lowered
digits are indices only beside digits: "H₂O" is "H2O".
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import groupby

_SIGNS = {
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-"),  # hyphens, dashes, minus
    **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u02bc\u2032"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033"), '"'),
    ord("\u2044"): "/",  # what NFKC puts into ½
    ord("\u066b"): ".", ord("\u066c"): ",", ord("\u066a"): "%",  # beside Arabic digits
    # Nobody sees them: soft hyphen, zero-width space, word joiner, byte order mark, marks of direction, the
    # choice of an emoji's style. An override of the direction (U+202D, U+202E) shows other text, and stays.
    **dict.fromkeys((0xAD, 0x200B, 0x2060, 0xFEFF, 0x61C, 0x200E, 0x200F, 0xFE0E, 0xFE0F,
                     *range(0x202A, 0x202D), *range(0x2066, 0x206A))),
}  # fmt: skip
_RAISED_DIGITS = "[\u2070\xb9\xb2\xb3\u2074-\u2079]"
_TYPESET_FRACTION = re.compile(f"(?<!{_RAISED_DIGITS})({_RAISED_DIGITS}++)[\u2044/]([\u2080-\u2089]+)")
MAX_MARKS = 30
"""Combining marks in a row. Longer runs are split (Unicode's stream-safe form): sorting one takes the square
of its length."""
_SIMPLE = re.compile(r"[+-]?[^\W_]+")
"""An exponent or an index that needs no braces."""
_PLAIN_RAISED = frozenset("\xaa\xba\u2122\u2120")
"""Ordinal indicators, trade and service mark."""
_ORDINALS = frozenset(("st", "nd", "rd", "th"))


def fold(text: str) -> str:
    """`text` in one case and one form of each character."""
    if text.isascii():
        return text.casefold()
    text = _TYPESET_FRACTION.sub(_as_glyph, _stream_safe(text))
    # Case folding can undo a compatibility form, hence the second NFKC.
    text = _compatible(_compatible(_written_out(text)).casefold())
    return "".join(map(_ascii_digit, text.translate(_SIGNS)))


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _stream_safe(text: str) -> str:
    """`text` with a joiner after every `MAX_MARKS` combining marks in a row."""
    out: list[str] = []
    for is_mark, run in groupby(text, key=lambda char: unicodedata.combining(char) > 0):
        marks = "".join(run)
        if is_mark and len(marks) > MAX_MARKS:
            marks = "\u034f".join(marks[i : i + MAX_MARKS] for i in range(0, len(marks), MAX_MARKS))
        out.append(marks)
    return "".join(out)


def _as_glyph(match: re.Match[str]) -> str:
    """A typeset fraction such as ¹/₃, set off from the digits around it."""
    text, start, end = match.string, match.start(), match.end()
    before, after = text[max(start - 1, 0) : start], text[end : end + 1]
    return _set_off(f"{_compatible(match[1])}/{_compatible(match[2])}", before, after)


def _ascii_digit(char: str) -> str:
    return char if char.isascii() or not char.isdecimal() else str(unicodedata.decimal(char))


@lru_cache(maxsize=4096)
def _level(char: str) -> str:
    """Where a character stands: "^" raised, "_" lowered, "#" a number in one glyph, "" elsewhere."""
    if not char or char.isascii() or char in _PLAIN_RAISED:
        return ""
    kind = unicodedata.decomposition(char).partition(" ")[0]
    if kind in ("<super>", "<sub>"):
        return "^" if kind == "<super>" else "_"
    spelled = _compatible(char)
    is_number = not char.isdecimal() and (spelled[0].isdecimal() or spelled[-1].isdecimal())
    return "#" if is_number else ""


@lru_cache(maxsize=4096)
def _unsquared(char: str) -> str:
    """A square metre as its parts, "m²"; any other character as it is."""
    kind, *codes = unicodedata.decomposition(char).split(" ")
    parts = "".join(chr(int(code, 16)) for code in codes) if kind == "<square>" else ""
    return parts if any(map(_level, parts)) else char


def _written_out(text: str) -> str:
    """`text` with its raised, lowered and fraction characters in ASCII notation."""
    runs = [(level, "".join(run)) for level, run in groupby("".join(map(_unsquared, text)), key=_level)]
    out: list[str] = []
    for i, (level, run) in enumerate(runs):
        before = out[-1][-1:] if out else ""
        after = runs[i + 1][1] if i + 1 < len(runs) else ""
        match level:
            case "^":
                out.append(_raised(run, before, after))
            case "_":
                out.append(_lowered(run, before, after))
            case "#":
                out.append(_glyphs(run, before, after))
            case _:
                out.append(run)
    return "".join(out)


def _raised(run: str, before: str, after: str) -> str:
    exponent = _compatible(run).replace("\u2212", "-")
    if exponent.casefold() in _ORDINALS and before.isdecimal():
        return exponent
    return "^" + _braced(exponent, after)


def _lowered(run: str, before: str, after: str) -> str:
    index = _compatible(run).replace("\u2212", "-")
    beside_digit = before.isdecimal() or after[:1].isdecimal()
    return "_" + _braced(index, after) if beside_digit else index


def _braced(inner: str, after: str) -> str:
    """What is raised or lowered, in braces where it would run into what follows."""
    runs_on = after[:1].isalnum() or after[:1] in ("^", "_") or bool(re.match("[.,][0-9]", after))
    return inner if _SIMPLE.fullmatch(inner) and not runs_on else f"{{{inner}}}"


def _glyphs(run: str, before: str, after: str) -> str:
    """Numbers in one glyph each, set off from digits and from each other."""
    out: list[str] = []
    for i, char in enumerate(run):
        follows = after[:1] if i + 1 == len(run) else run[i + 1]
        out.append(_set_off(_compatible(char).replace("\u2044", "/"), before, follows))
        before = out[-1][-1]
    return "".join(out)


def _set_off(number: str, before: str, after: str) -> str:
    """A number between two characters that it must not run into."""
    is_raised_to = after == "^" or _level(after) == "^"
    after = _compatible(after)
    joined = is_raised_to or {before, after[:1]} & {"^", "_", "/", "\u2044"}
    if "/" in number.strip("/") and joined:
        return f"({number})"
    left = " " if before.isdecimal() and number[0].isdecimal() else ""
    right = " " if after[:1].isdecimal() and number[-1].isdecimal() else ""
    return left + number + right
