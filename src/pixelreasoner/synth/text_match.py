"""Whether text that was read off a picture holds an answer: what may differ, and what may not.

Answer and text become symbols: letters one by one, whole numbers, and the ends of lines. Letters have no case
and no accents; blanks and punctuation only separate. What a reader of pictures gets wrong is then a letter
here and there, and what a crop that misses the answer lacks is its beginning, its end, or the ends of its
lines. Hence:

* at most a share of the letters may be misread, missing or too many, and never more than two in a row: a
  missing word is no misreading;
* the first two and the last two symbols, and two on both sides of a line's end, are there as they are (of one
  letter, a doubled one could make up for what is cut off);
* a number is there digit by digit ("1,204" is "1204", and neither "204" nor "1,240");
* the match begins and ends with a word: "rate" is not in "corporate".
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from pixelreasoner.core.geometry import Box
from pixelreasoner.rewards.characters import fold

_TOKEN = re.compile(r"(?:(?<!\w)-)?[0-9]+(?:[.,][0-9]+)*|[^\W\d_]")
_GROUPING = re.compile(r",(?=[0-9]{3}(?![0-9]))")
_ALIKE = str.maketrans({"i": "l", "\u0131": "l"})
"""In many faces a capital I is a small l."""
_END_OF_LINE, _HYPHEN = "\n", "-\n"
_FIRST_WITHOUT_SPACES = "\u2e80"
"""From here on lie the scripts of East Asia, whose words have no blanks between them."""


class _Run(IntEnum):
    """What came last, which decides what may come next."""

    EDGE = 0
    """The beginning of the answer or of a line: two symbols have to be as they are."""
    AFTER_EDGE = 1
    """One of them was."""
    FREE = 2
    """Anything may come."""
    MISREAD = 3
    """A letter was misread: neither the answer nor a line may end."""
    MISREAD_TWICE = 4
    """Two in a row: the next symbol has to be as it is."""
    RECOVERED = 5
    """One symbol was as it is after that; another one has to be before an end."""


_AFTER_MATCH = {
    _Run.EDGE: _Run.AFTER_EDGE, _Run.AFTER_EDGE: _Run.FREE, _Run.FREE: _Run.FREE,
    _Run.MISREAD: _Run.RECOVERED, _Run.MISREAD_TWICE: _Run.RECOVERED, _Run.RECOVERED: _Run.FREE,
}  # fmt: skip
_AFTER_MISREADING = {
    _Run.FREE: _Run.MISREAD, _Run.RECOVERED: _Run.MISREAD, _Run.MISREAD: _Run.MISREAD_TWICE
}  # fmt: skip
_MAY_END = frozenset((_Run.EDGE, _Run.AFTER_EDGE, _Run.FREE))


@dataclass(frozen=True)
class TextLine:
    """A run of text that was read at one place."""

    text: str
    box: Box
    """In pixels of the picture."""


class _Symbol(NamedTuple):
    text: str
    begins: bool
    """Whether a word begins here, or the one before ends."""

    @property
    def is_letter(self) -> bool:
        return len(self.text) == 1 and self.text.isalpha()


def holds(lines: Sequence[TextLine], answer: str, tolerance: float) -> bool:
    """Whether the lines hold an answer, along rows or down a column.

    An answer without letters and digits ("%") is held by no lines.

    Args:
        lines: in any order.
        answer: without markup.
        tolerance: the share of its letters that may be misread, 0 to 1.
    """
    wanted = [symbol.text for symbol in _symbols(answer)]
    if not wanted:
        return False
    edits = int(tolerance * sum(len(text) == 1 and text.isalpha() for text in wanted))
    return any(_finds(_joined(reading), wanted, edits) for reading in _readings(lines))


# -------------------------------------------------------------------------------------------- symbols


def _symbols(text: str) -> Iterator[_Symbol]:
    plain = "".join(c for c in unicodedata.normalize("NFD", fold(text)) if not unicodedata.combining(c))
    end, before = -1, ""
    for match in _TOKEN.finditer(plain.translate(_ALIKE)):
        token = match[0]
        both_letters = token.isalpha() and before.isalpha()
        runs_on = match.start() == end and both_letters and max(token, before) < _FIRST_WITHOUT_SPACES
        yield _Symbol(_GROUPING.sub("", token), not runs_on)
        end, before = match.end(), token


def _joined(texts: Sequence[str]) -> list[_Symbol]:
    """The symbols of lines that follow one another."""
    out: list[_Symbol] = []
    for text in texts:
        follows_hyphen = bool(out) and out[-1].text == _HYPHEN
        for i, symbol in enumerate(_symbols(text)):
            out.append(_Symbol(symbol.text, False) if i == 0 and follows_hyphen else symbol)
        is_divided = fold(text).rstrip().endswith("-")
        out.append(_Symbol(_HYPHEN, False) if is_divided else _Symbol(_END_OF_LINE, True))
    return out


def _finds(text: Sequence[_Symbol], wanted: Sequence[str], edits: int) -> bool:
    return any(
        symbol.begins and symbol.text == wanted[0] and _stands_at(text, start, wanted, edits)
        for start, symbol in enumerate(text)
    )


def _stands_at(text: Sequence[_Symbol], start: int, wanted: Sequence[str], edits: int) -> bool:
    """Whether an answer begins at a place, with at most so many letters misread.

    A state is how much of the answer is matched, where in the text, and what came last. States are visited by
    the edits they cost, so each is visited once.
    """
    waiting = deque([(0, start, _Run.EDGE, 0)])
    seen: set[tuple[int, int, _Run]] = set()
    while waiting:
        matched, at, run, cost = waiting.popleft()
        if (matched, at, run) in seen:
            continue
        seen.add((matched, at, run))
        here = text[at] if at < len(text) else None
        if matched == len(wanted):
            if run in _MAY_END and (here is None or here.begins):
                return True
            continue
        expected = wanted[matched]
        if here is not None and here.text == expected:
            waiting.appendleft((matched + 1, at + 1, _AFTER_MATCH[run], cost))
        if here is not None and here.text in (_END_OF_LINE, _HYPHEN):
            if run in _MAY_END:
                waiting.appendleft((matched, at + 1, _Run.EDGE, cost))
            here = None
        if cost < edits and run in _AFTER_MISREADING:
            for goes, comes in _misreadings(expected, here):
                waiting.append((matched + goes, at + comes, _AFTER_MISREADING[run], cost + 1))
    return False


def _misreadings(expected: str, here: _Symbol | None) -> Iterator[tuple[int, int]]:
    """How far a misread letter leads on in answer and text: another letter, none, one too many."""
    is_letter, letter_here = len(expected) == 1 and expected.isalpha(), here is not None and here.is_letter
    if is_letter and letter_here:
        yield 1, 1
    if is_letter:
        yield 1, 0
    if letter_here:
        yield 0, 1


# ------------------------------------------------------------------------------------ order of reading


def _readings(lines: Sequence[TextLine]) -> Iterator[list[str]]:
    """The orders in which lines may be read: along the rows of the page, and down each column.

    A line follows the nearest one above it that it stands under, so a heading is followed by the first line
    of each column beneath it.
    """
    rows = _rows(lines)
    yield [" ".join(line.text for line in row) for row in rows]
    pieces = [piece for row in rows for piece in _pieces(row)]
    above = [_above(i, pieces) for i in range(len(pieces))]
    for last in set(range(len(pieces))) - {i for i in above if i is not None}:
        path: list[str] = []
        at: int | None = last
        while at is not None:
            path.append(pieces[at].text)
            at = above[at]
        yield path[::-1]


def _rows(lines: Sequence[TextLine]) -> list[list[TextLine]]:
    """Lines at one height, from left to right; the rows from top to bottom."""
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda line: line.box.center[1]):
        if rows and _on_one_row(rows[-1][-1].box, line.box):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda line: line.box.x1) for row in rows]


def _on_one_row(a: Box, b: Box) -> bool:
    return abs(a.center[1] - b.center[1]) < 0.5 * min(a.height, b.height)


def _pieces(row: Sequence[TextLine]) -> list[TextLine]:
    """A row in pieces, those joined that no more than a blank divides."""
    out: list[TextLine] = []
    for line in row:
        last = out[-1] if out else None
        if last is not None and line.box.x1 - last.box.x2 < 0.7 * line.box.height:
            a, b = last.box, line.box
            box = Box(min(a.x1, b.x1), min(a.y1, b.y1), max(a.x2, b.x2), max(a.y2, b.y2))
            out[-1] = TextLine(f"{last.text} {line.text}", box)
        else:
            out.append(line)
    return out


def _above(at: int, pieces: Sequence[TextLine]) -> int | None:
    """The nearest piece above that shares at least half the width of the narrower of the two."""
    box, best, lowest = pieces[at].box, None, float("-inf")
    for i, other in enumerate(pieces[:at]):
        shared = min(box.x2, other.box.x2) - max(box.x1, other.box.x1)
        if shared < 0.5 * min(box.width, other.box.width) or _on_one_row(box, other.box):
            continue
        if lowest < other.box.y2 and other.box.center[1] < box.center[1]:
            best, lowest = i, other.box.y2
    return best
