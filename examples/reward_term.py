"""A reward term of your own. A recipe names it with its weight and the arguments it takes::

rewards = { brevity = { use = "examples.reward_term:brevity", weight = 0.1, options = { free = 64 } } }
"""

from collections.abc import Sequence

from pixelreasoner.core.trajectory import Group


def brevity(group: Group, scores: Sequence[float], *, free: int = 64) -> list[float]:
    """Minus the tokens beyond `free`, in thousands, of each rollout with a right answer."""
    return [-max(y.n_sampled_tokens - free, 0) / 1000 * s for y, s in zip(group, scores, strict=True)]
