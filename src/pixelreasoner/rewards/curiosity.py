"""The curiosity-driven reward of the paper (section 4, Eq. 1-5).

Two constraints say how a policy should explore pixel space (Eq. 1-2)::

    RaPR(x) = E_{y ~ pi(.|x)} [ 1_PR(y) ]  >=  H        look closely in at least a share H of the attempts
    n_vo(y)                                <=  N        with at most N operations in each

and enter the reward r(x, y) as a bonus and a penalty with fixed weights (Eq. 3-5)::

    r'(x, y) = r(x, y) + alpha * max(H - RaPR(x), 0) * 1_PR(y) + beta * min(N - n_vo(y), 0)

The bonus pays the rare attempt that dares an operation on a query where few do, and fades to nothing as
RaPR(x) reaches H, so it cannot be farmed; the penalty keeps it from being earned by operations without end.

Both 1_PR and n_vo count VALID operations only: a call that could not be carried out saw nothing. (The
authors' released code counts every attempt, and divides the bonus by RaPR; this is the published equation.)

"RL without curiosity", the paper's ablation, is `CuriosityConfig(alpha=0.0)`: the penalty stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from pixelreasoner.core.config import Config
from pixelreasoner.core.trajectory import Group, rapr


class CuriosityConfig(Config):
    """The paper's symbols; the defaults are its constants (App. C.3)."""

    alpha: float = Field(default=0.5, ge=0)
    """Weight of the curiosity bonus. 0 is RL without curiosity."""
    beta: float = Field(default=0.05, ge=0)
    """Cost of each operation beyond N."""
    H: float = Field(default=0.3, ge=0, le=1)
    """The rate of pixel-space reasoning, per query, at which the bonus ends."""
    N: int = Field(default=1, ge=0)
    """Operations per attempt that cost nothing."""


@dataclass(frozen=True)
class RewardTerms:
    """r'(x, y) of one attempt, term by term."""

    correct: float
    """r(x, y): 1 for a correct answer, else 0."""
    curiosity: float
    """alpha * max(H - RaPR(x), 0) * 1_PR(y): never negative."""
    penalty: float
    """beta * min(N - n_vo(y), 0): never positive."""

    @property
    def total(self) -> float:
        """r'(x, y)."""
        return self.correct + self.curiosity + self.penalty


def curiosity_rewards(correct: Sequence[float], group: Group, config: CuriosityConfig) -> list[RewardTerms]:
    """r'(x, y) for every attempt y at one query x (Eq. 3-5).

    Args:
        correct: r(x, y) of each attempt, in the group's order.
        group: all the attempts at the query: RaPR(x) is estimated on them.
        config: alpha, beta, H and N.
    """
    bonus = config.alpha * max(config.H - rapr(group), 0.0)
    return [
        RewardTerms(
            correct=r,
            curiosity=bonus * y.used_pixel_space,
            penalty=config.beta * min(config.N - y.n_operations, 0),
        )
        for r, y in zip(correct, group, strict=True)
    ]
