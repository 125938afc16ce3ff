"""Average normalised Levenshtein similarity, the metric of InfographicVQA and DocVQA."""

from __future__ import annotations

from collections.abc import Sequence

from pixelreasoner.core.config import Share
from pixelreasoner.core.task import Task


def anls(answer: str | None, references: Sequence[str], task: Task, *, threshold: Share = 0.5) -> float:
    """The best similarity to a reference, 1 - distance / length; 0 below `threshold`.

    The variants of the field differ; this is that of lmms-eval and VLMEvalKit, which the published numbers
    of the Qwen family use. Both texts are lower-cased, stripped, and their white space is collapsed. The
    length is that of the longer RAW text, before this, in upper case ("ß" counts two). A similarity of
    exactly the threshold is kept. Characters are code points: "é" in two code points differs from "é" in
    one.

    Our one deviation: an answer with nothing in it scores 0, whatever the reference.

    Source: A. F. Biten et al., "Scene Text Visual Question Answering", ICCV 2019.
    """
    if not (answer or "").strip():
        return 0.0
    return max((_similarity(answer or "", reference, threshold) for reference in references), default=0.0)


def _similarity(answer: str, reference: str, threshold: float) -> float:
    length = max(len(reference.upper()), len(answer.upper()))
    a, b = (" ".join(text.lower().split()) for text in (answer, reference))
    # The distance is at least the difference in length: a long answer costs no long comparison.
    if 1 - abs(len(a) - len(b)) / length < threshold:
        return 0.0
    value = 1 - _distance(a, b) / length
    return value if value >= threshold else 0.0


def _distance(a: str, b: str) -> int:
    """The Levenshtein distance: the fewest insertions, deletions and replacements."""
    if len(a) < len(b):
        a, b = b, a
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
