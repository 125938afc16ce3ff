"""Reference answers of other people's data sets, brought into the form that scorers compare.

| form | what it was | what it becomes |
|---|---|---|
| letter | `B`, `(B)`, `B. rubber`, `rubber`, where the options are known or listed | `B`, scorer "choice" |
| number | `1,204`, `45%` | itself |
| alternatives | several references, or `\\boxed{['10 km', 'ten km']}` | each of them |
| text | anything else | itself |

Boxes (`\\boxed{...}`) and `<answer>` tags around an answer are taken off first.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

from pixelreasoner.chat.calls import last_boxed
from pixelreasoner.rewards.choices import LETTERS, chosen_letter, listed_options
from pixelreasoner.rewards.numbers import number_of
from pixelreasoner.tasks.datasets.report import UnusableError

MAX_CHARACTERS = 300
"""A longer reference is a passage: no answer of a model would ever equal it."""
NO_ANSWER = "no answer"

_TAGGED = re.compile(r"<(answer|CONCLUSION)>(.*?)</\1>", re.DOTALL)
_OWN_LETTER = re.compile(r"\s*\(?([A-Z])[).:]\s+(\S.*)", re.DOTALL)
_PLACEHOLDER = re.compile(r"\s*<(?:image|video)>\s*")


class Answers(NamedTuple):
    """The references of a row."""

    values: tuple[str, ...]
    form: str
    """"letter", "number", "alternatives" or "text"."""
    scorer: str
    """What compares them; empty leaves it to the recipe."""


def read_answers(value: Any, question: str, options: Sequence[str] = ()) -> Answers:
    """The references in a field.

    Args:
        value: a text, a number, or a list of them.
        question: may list options line by line.
        options: the texts to choose from, where the row has them in a field of their own.

    Raises:
        UnusableError: there is none, it is none of `options`, or it is a passage.
    """
    values = list(dict.fromkeys(_flat(value)))
    if not values:
        raise UnusableError(NO_ANSWER)
    if letters := _letters(values, options or listed_options(question)):
        return Answers(letters, "letter", "choice")
    if options:
        raise UnusableError("the answer is none of the options", f"{values[0][:60]!r}")
    if longest := next((v for v in values if len(v) > MAX_CHARACTERS), None):
        raise UnusableError("the answer is a passage", f"{len(longest)} characters")
    if len(values) > 1:
        return Answers(tuple(values), "alternatives", "")
    if values[0] in LETTERS:
        return Answers(
            tuple(values), "letter", ""
        )  # its options stand in the question in a form of their own
    return Answers(tuple(values), "text" if number_of(values[0]) is None else "number", "")


def plain_question(value: Any) -> str:
    """A question without the placeholders of its media.

    Raises:
        UnusableError: there is nothing else in it.
    """
    text = _PLACEHOLDER.sub("\n", value).strip() if isinstance(value, str) else ""
    if not text:
        raise UnusableError("no question")
    return text


def plain_options(values: Any) -> tuple[str, ...]:
    """Options without the letters they begin with: "A. rubber" is "rubber".

    A letter is taken off only where every option begins with its own.
    """
    texts = [str(v).strip() for v in cast(Sequence[Any], values or ())]
    found = [_OWN_LETTER.fullmatch(text) for text in texts]
    if all(m is not None and m[1] == letter for m, letter in zip(found, LETTERS, strict=False)):
        return tuple(m[2] for m in found if m is not None)
    return tuple(texts)


def _letters(values: Sequence[str], options: Sequence[str]) -> tuple[str, ...]:
    """The options that the references choose; empty where one chooses none."""
    if not options:
        return ()
    found = [chosen_letter(value, options) for value in values]
    return tuple(dict.fromkeys(letter for letter in found if letter is not None)) if all(found) else ()


def _flat(value: Any) -> Iterator[str]:
    """The references as texts, boxes and tags taken off, lists within them taken apart."""
    if isinstance(value, (list, tuple)):
        for item in cast(Sequence[Any], value):
            yield from _flat(item)
        return
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return
    text = str(value).strip()
    if tagged := _TAGGED.findall(text):
        text = tagged[-1][1].strip()
    if (boxed := last_boxed(text)) is not None:
        text = boxed
    if isinstance(listed := _literal(text), list):
        yield from _flat(listed)
    elif text:
        yield text


def _literal(text: str) -> object:
    """The list that a text is the Python literal of; None where it is none."""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    # "[3]" may be meant as it stands: only texts in a list are alternatives.
    items = cast(list[object], found) if isinstance(found, list) else []
    return found if items and all(isinstance(item, str) for item in items) else None
