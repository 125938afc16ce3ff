"""Average normalised Levenshtein similarity, the metric of InfographicVQA and DocVQA."""

from __future__ import annotations

from collections.abc import Sequence

from pixelreasoner.core.config import Share
from pixelreasoner.core.task import Task
from pixelreasoner.rewards.answers import scorable


def anls(answer: str | None, references: Sequence[str], task: Task, *, threshold: Share = 0.5) -> float:
    """The best similarity to a reference, 1 - distance / length; 0 below `threshold`.

    The variants of the field differ; this is that of lmms-eval and VLMEvalKit, which the published numbers
    of the Qwen family use. Both texts are lower-cased, stripped, and their white space is collapsed. The
    length is that of the longer RAW text, before this, in upper case ("ß" counts two). A similarity of
    exactly the threshold is kept. Characters are code points: "é" in two code points differs from "é" in
    one.

    Our deviations: an answer with nothing in it scores 0, whatever the reference, and so does one of more
    than `answers.MAX_CHARACTERS`.

    Source: A. F. Biten et al., "Scene Text Visual Question Answering", ICCV 2019.
    """
    given = scorable(answer)
    if not given.strip():
        return 0.0
    return max((_similarity(given, reference, threshold) for reference in references), default=0.0)


def _similarity(answer: str, reference: str, threshold: float) -> float:
    length = max(len(reference.upper()), len(answer.upper()))
    a, b = (" ".join(text.lower().split()) for text in (answer, reference))
    # The distance is at least the difference in length: a long answer costs no long comparison.
    if 1 - abs(len(a) - len(b)) / length < threshold:
        return 0.0
    value = 1 - _distance(a, b) / length
    return value if value >= threshold else 0.0


def _distance(a: str, b: str) -> int:
    """The Levenshtein distance: the fewest insertions, deletions and replacements.

    A column of the table is two integers of len(a) bits, which say where it rises and where it falls by one,
    so that a column costs a few operations on integers: ten thousand characters against ten thousand take
    less than a tenth of a second.

    Source: H. Hyyrö, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances", 2003.
    """
    if not a or not b:
        return max(len(a), len(b))
    places: dict[str, int] = {}
    for i, char in enumerate(a):
        places[char] = places.get(char, 0) | 1 << i
    every, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    rises, falls, distance = every, 0, len(a)
    for char in b:
        equal = places.get(char, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls
        right_rises, right_falls = falls | ~(diagonal | rises) & every, rises & diagonal
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises = right_rises << 1 | 1
        rises = (right_falls << 1 | ~(diagonal | right_rises)) & every
        falls = right_rises & diagonal & every
    return distance
