"""A scorer of your own. A recipe names it: `scoring = { default = "examples.scorer:words" }`."""

from collections.abc import Sequence

from pixelreasoner.core.task import Task


def words(answer: str | None, references: Sequence[str], task: Task) -> float:
    """The share of words in common with the nearest reference: "the red card" and "red card" give 2/3."""
    given = set((answer or "").lower().split())
    wanted = [set(reference.lower().split()) for reference in references]
    return max((len(given & w) / len(given | w) for w in wanted if given | w), default=0.0)
