"""What the rows of several benchmarks have in common: options, pictures in base64, lists written as text."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pixelreasoner.core.errors import MissingExtraError
from pixelreasoner.evals.benchmark import TrajectoryScore
from pixelreasoner.rewards.choices import LETTERS
from pixelreasoner.rewards.math import math_verify
from pixelreasoner.rewards.pr_compat import pr_compat
from pixelreasoner.tasks.datasets.answers import plain_options, plain_question, read_answers
from pixelreasoner.tasks.datasets.reader import NormalRow, normal_row
from pixelreasoner.tasks.datasets.report import UnusableError

Row = Mapping[str, Any]

_SHORT_ANSWER = re.compile(r"\s*Answer with the option's letter from the given choices directly\.?\s*$")
_INLINE_OPTION = re.compile(r"(?:^|\s)\(([A-H])\)\s*")
_PATH = re.compile(r"[^\n]{1,255}\.[A-Za-z0-9]{2,5}")


def picture(value: Any) -> Any:
    """The picture of a field, for `NormalRow`: a name, a content, or base64 text marked as such."""
    if isinstance(value, str) and not _PATH.fullmatch(value):
        return {"base64": value}
    return value


def listed(value: Any) -> list[Any]:
    """A list, or one that is written as JSON or as Python; empty for nothing.

    Raises:
        UnusableError: it is neither.
    """
    if value is None or value == "":
        return []
    if isinstance(value, (list, tuple)):
        return list(cast(Sequence[Any], value))
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(str(value))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(found, list):
            return cast(list[Any], found)
    raise UnusableError("a field is no list", str(value)[:60])


def lettered(row: Row) -> list[str]:
    """The options in the columns A, B, C, ... up to the first that is empty."""
    options: list[str] = []
    for letter in LETTERS:
        if (text := row.get(letter)) is None or not str(text).strip():
            break
        options.append(str(text).strip())
    return options


def without_short_answer(text: str) -> str:
    """A question without the line that asks for a letter alone, which is an instruction of its harness."""
    return _SHORT_ANSWER.sub("", text)


def inline_options(text: str) -> tuple[str, list[str]]:
    """A question and the options that stand in it as "(A) ... (B) ..."; no options where they do not.

    The letters must run from A without a gap.
    """
    text = without_short_answer(text)
    found = list(_INLINE_OPTION.finditer(text))
    if len(found) < 2 or [m[1] for m in found] != list(LETTERS[: len(found)]):
        return text.strip(), []
    ends = [*(m.start() for m in found[1:]), len(text)]
    options = [text[m.end() : end].strip() for m, end in zip(found, ends, strict=True)]
    return text[: found[0].start()].strip(), options


def choice_row(question: Any, options: Sequence[Any], answer: Any, **fields: Any) -> NormalRow:
    """A multiple-choice row; letters in front of the options are taken off.

    Raises:
        UnusableError: it has no question, no answer, an answer that is none of its options, or no media.
    """
    text = plain_question(question)
    texts = plain_options(options)
    if len(texts) < 2:
        raise UnusableError("fewer than two options")
    return normal_row(read_answers(answer, text, texts), question=text, options=list(texts), **fields)


def boxes_cue(boxes: Sequence[Any]) -> dict[str, Any] | None:
    """The cue of a row with reference boxes [left, top, right, bottom] in pixels; None where it has none.

    Raises:
        UnusableError: a box is no four numbers, or has no area.
    """
    if not boxes:
        return None
    sides: list[list[float]] = []
    for box in boxes:
        try:
            left, top, right, bottom = (float(side) for side in box)
        except (TypeError, ValueError) as e:
            raise UnusableError("a box is no four numbers", str(box)[:60]) from e
        if not (left < right and top < bottom):
            raise UnusableError("a box has no area", str(box)[:60])
        sides.append([left, top, right, bottom])
    return {"box": sides[0]} if len(sides) == 1 else {"boxes": sides}


def compat(wanted: bool) -> dict[str, TrajectoryScore]:
    """The score pr_compat, for `Benchmark.scores`.

    Raises:
        MissingExtraError: it is wanted, and math-verify is not installed; or leave it out:
            benchmark_options = { pr_compat = false }.
    """
    if not wanted:
        return {}
    try:
        math_verify()
    except MissingExtraError as e:
        error = MissingExtraError("math-verify", "math", "The score pr_compat")
        error.args = (f"{error}; or leave it out: benchmark_options.pr_compat=false",)
        raise error from e
    return {"pr_compat": pr_compat}
