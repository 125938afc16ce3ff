"""What a teacher's texts must not hold, and what they have to.

The rules keep the paper's trajectories from being bypassed: an answer that stands in a text before the look
that shows it teaches a model that it need not look.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from pixelreasoner.core.task import Task
from pixelreasoner.core.terminal import visible
from pixelreasoner.rewards.choices import LETTERS, chosen_letter, listed_options

MOST_CHARACTERS = 1_500
"""Of one text."""
MOST_SUBJECT_WORDS = 16

_MARKUP = re.compile(
    r"</?(?:tool|function|parameter|answer|think|image|video)|<\||```|\\boxed|\\fbox|bbox_2d|target_(?:image|frames)|"
    r"crop_image|select_frames",
    re.IGNORECASE,
)
_NUMBER = r"-?\d+(?:\.\d+)?"
_COORDINATES = re.compile(
    rf"[\[(]\s*(?:{_NUMBER}\s*[,;]\s*){{3}}{_NUMBER}\s*[\])]|\b[xy][12]?\s*[=:]\s*{_NUMBER}|bounding box",
    re.IGNORECASE,
)
_GIVEN_AWAY = re.compile(
    r"\bground[- ]truth\b|\breference (?:answer|box|region|cue|frames?)\b|\bannotat(?:ed|ion)|"
    r"\b(?:given|provided|supplied|expected|stated) (?:correct |right )?answer\b|"
    r"\banswer (?:is|was) (?:given|provided|supplied)\b|"
    r"\b(?:on purpose|deliberate(?:ly)?|intentional(?:ly)?)\b|"
    r"\b(?:I (?:am|was|have been)|as) (?:told|instructed)\b|\bthe instructions?\b",
    re.IGNORECASE,
)
_NUMBERED_LOOK = re.compile(r"\blooks? (?:no\. ?|number )?#?\d", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_WORD = re.compile(r"\w+")
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")
"""Scripts without blanks between words: Thai, Lao, Japanese, Chinese."""
_FIRST_OPTION = re.compile(r"\n[ \t]*\(?A[).:][ \t]")
_LETTER_NAMED = r"(?:\b(?i:option|answer|choice)s?\s*(?:is|are|:)?\s*\(?|\()([A-{last}])(?:\)|\b)"


_WORDS_TOO = frozenset("aAiI")
"""Answers that are words of any text."""


def form_faults(name: str, text: str) -> list[str]:
    """What is wrong with one text, whatever it is about: what no model should learn to write."""
    if not text.strip():
        return [f"{name} is empty"]
    found: list[str] = []
    if len(text) > MOST_CHARACTERS:
        found.append(f"{name} is longer than {MOST_CHARACTERS} characters")
    if unseen(text):
        found.append(f"{name} holds characters that are not to be seen")
    for pattern, fault in (
        (_MARKUP, "holds markup or the name of a tool"),
        (_COORDINATES, "holds coordinates"),
        (_GIVEN_AWAY, "says that something was given or prescribed"),
        (_NUMBERED_LOOK, "names the number of a look"),
    ):
        if match := pattern.search(text):
            found.append(f"{name} {fault}: {match[0]!r}")
    return found


def unseen(text: str) -> bool:
    """Whether a text holds what nobody can see or what a terminal would obey: control characters, overrides
    of the writing direction, halves of characters.
    """
    line = " ".join(text.split())
    return visible(line) != line


def holds_markup(text: str) -> bool:
    """Whether a text holds what is no part of any answer: tags, special tokens, names of operations."""
    return _MARKUP.search(text) is not None


def tells_answer(text: str, task: Task) -> bool:
    """Whether a text holds the task's right answer, where the question itself does not.

    Of a question with options: the right option's letter as such, or its text, unless each other option
    stands there too. Of an open one: a reference.
    """
    known, options = question_stem(task), options_of(task)
    if not options:
        return any(_holds(text, a) and not _holds(known, a) for a in task.answers if a not in _WORDS_TOO)
    right = right_options(task)
    if named_letters(text, len(options)) & right.keys():
        return True
    others = [option for option in options if option not in right.values()]
    return any(
        _holds(text, option) and not _holds(known, option) and not all(_holds(text, o) for o in others)
        for option in right.values()
    )


def states_answer(text: str, task: Task) -> bool:
    """Whether a text ends up with the right answer: it holds it, and no other option's letter."""
    options = options_of(task)
    if not options:
        return any(_holds(text, answer) for answer in task.answers)
    right, named = right_options(task), named_letters(text, len(options))
    if named:
        return named <= right.keys()
    return any(_holds(text, option) for option in right.values())


def options_of(task: Task) -> tuple[str, ...]:
    """What may be chosen: the task's options, or those that its question lists line by line."""
    return task.options or listed_options(task.question)


def question_stem(task: Task) -> str:
    """The question without the options under it."""
    return _FIRST_OPTION.split(task.question)[0] if options_of(task) else task.question


def right_options(task: Task) -> dict[str, str]:
    """The right options by letter; empty for an open question."""
    options = options_of(task)
    letters = {chosen_letter(answer, options) for answer in task.answers} if options else set[str]()
    return {letter: text for letter, text in zip(LETTERS, options, strict=False) if letter in letters}


def named_letters(text: str, n_options: int) -> set[str]:
    """The letters of options that a text speaks of as such: "option B", "the answer is (B)"."""
    pattern = _LETTER_NAMED.replace("{last}", LETTERS[max(n_options, 1) - 1])
    return set(re.findall(pattern, text))


def holds_any(text: str, phrases: Sequence[str]) -> bool:
    """Whether one of some phrases stands in a text, word by word."""
    return any(_holds(text, phrase) for phrase in phrases)


def _holds(text: str, phrase: str) -> bool:
    wanted, words = plain(phrase), plain(text)
    if _UNSPACED.search(wanted):
        return wanted in words
    return bool(wanted) and f" {wanted} " in f" {words} "


def plain(text: str) -> str:
    """Words and numbers alone, in lower case, one blank between two, without marks of no width."""
    shown = "".join(c for c in text if unicodedata.category(c) != "Cf")
    folded = unicodedata.normalize("NFKC", shown).casefold()
    return " ".join(_WORD.findall(_THOUSANDS.sub("", folded)))
