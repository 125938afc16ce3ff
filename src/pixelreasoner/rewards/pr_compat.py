r"""The score that the released code of PixelReasoner gives a rollout, to compare with the paper's figures.

The rule, as the released evaluation has it (`curiosity_driven_rl`, `rule_reward` with a box required):

1. The text is that of all messages of the model and of the replies between them. All is lower-cased.
2. What counts begins at the last "boxed" of the text. Replies count too.
3. A reference with a percent sign is also tried without it, first.
4. A reference is right where math-verify takes text and reference for equal, after "dfrac", "\text",
   "minutes", "cm" and "\varnothing" are rewritten.
5. A reference with a comma is also right where each of its parts occurs anywhere in what counts.

What follows is not what a reader expects, and is kept: "A. rubber" is wrong for A, "two" for 2, "York New" is
right for "New York", 0.45 for 45%, and the order of a list does not matter. Ours differs in three points. The
released code fails where there is no box, and this scores 0. Empty parts of a reference (rule 5) are passed
over. A text of more than `MAX_TAIL` characters after the last "boxed" is no formula.

Versions of math-verify differ: "45%" for 45 is wrong before 0.9. Say which one a figure is from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.rewards.math import math_verify, verified

MAX_TAIL = 1000
"""Characters from the last "boxed" on, beyond which math-verify is not asked."""
STOP = "<|im_end|>"
"""What ends a message in the released code's text."""
_BOX = "\\boxed{"


def pr_compat(trajectory: Trajectory) -> float:
    """1 where the released code would score a rollout 1, else 0.

    Raises:
        MissingExtraError: math-verify is not installed.
    """
    return rule_reward(whole_text(trajectory), [boxed(answer) for answer in trajectory.task.answers])


def whole_text(trajectory: Trajectory) -> str:
    """What a rollout says after its question: the model's messages, and the replies between them."""
    parts: list[str] = []
    for turn in trajectory.turns:
        parts.append(turn.text + STOP)
        if turn.observation is not None:
            parts.append(turn.observation.text + STOP)
    return "".join(parts)


def boxed(answer: str) -> str:
    """A reference as the authors' data hold it."""
    return answer if "boxed" in answer else f"{_BOX}{answer}}}"


def rule_reward(text: str, references: Sequence[str]) -> float:
    r"""The score of a text against references, each of the form "\boxed{...}"; see the module.

    Raises:
        MissingExtraError: math-verify is not installed.
    """
    package = math_verify()
    text = text.lower()
    at = text.rfind("boxed")
    if at < 0:
        return 0.0
    tail = text[at:]
    answer = "\\" + tail
    for reference in _with_bare_percent([r.lower() for r in references]):
        if len(tail) <= MAX_TAIL and verified(package, normalize_answer(answer), normalize_answer(reference)):
            return 1.0
        parts = [part.strip() for part in reference[len(_BOX) : -1].split(",")] if "," in reference else []
        named = [part for part in parts if part]
        if named and all(part in tail for part in named):
            return 1.0
    return 0.0


def normalize_answer(text: str) -> str:
    """A text as the released code rewrites it before it is parsed."""
    for old, new in (
        ("dfrac", "frac"),
        ("\\text", ""),
        ("\\varnothing", "\\emptyset"),
        ("minutes", ""),
        ("cm", ""),
    ):
        text = text.replace(old, new)
    return text


def _with_bare_percent(references: Sequence[str]) -> Iterator[str]:
    """The references; before them the first with a percent sign, without it."""
    yield from [reference.replace("%", "") for reference in references if "%" in reference][:1]
    yield from references
