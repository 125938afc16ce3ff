"""The curiosity-driven reward of the paper (section 4, Eq. 1-5).

Two constraints say how a policy should explore pixel space (Eq. 1-2)::

    RaPR(x) = E_{y ~ pi(.|x)} [ 1_PR(y) ]  >=  H        an operation in at least a share H of the rollouts
    n_vo(y)                                <=  N        with at most N operations in each

and enter the reward r(x, y) as a bonus and a penalty with fixed weights (Eq. 3-5)::

    r'(x, y) = r(x, y) + alpha * max(H - RaPR(x), 0) * 1_PR(y) + beta * min(N - n_vo(y), 0)
                         ------------ `Curiosity` ------------   ------ `Efficiency` ------

The bonus rewards the rare rollout that uses an operation on a query where few do, and fades to nothing as
RaPR(x) reaches H, so it cannot be farmed; the penalty keeps it from being earned by operations without end.
alpha and beta are the weights of the two terms (`rewards.terms`).

Both 1_PR and n_vo count operations whose result the model has read (`Trajectory.n_operations`). A call that
could not be carried out showed nothing; neither did a result that no longer fitted into the conversation.
(The authors' released code counts every call, and divides the bonus by RaPR; this is the published equation.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pixelreasoner.core.config import CountOrZero, Share
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.trajectory import Group, rapr


@dataclass(frozen=True)
class Curiosity:
    """max(H - RaPR(x), 0) * 1_PR(y) of each rollout y of one query x; never negative.

    Raises:
        ConfigError: H is outside 0 to 1.
    """

    H: Share = 0.3
    """The rate of pixel-space reasoning, per query, at which the bonus ends (App. C.3)."""

    def __post_init__(self) -> None:
        if not 0 <= self.H <= 1:
            raise ConfigError(f"reward term 'curiosity': H is {self.H}; it must be from 0 to 1")

    def __call__(self, group: Group, scores: Sequence[float]) -> list[float]:
        bonus = max(self.H - rapr(group), 0.0)  # RaPR(x) is estimated on the group
        return [bonus * y.used_pixel_space for y in group]


@dataclass(frozen=True)
class Efficiency:
    """min(N - n_vo(y), 0) of each rollout y; never positive.

    Raises:
        ConfigError: N is negative.
    """

    N: CountOrZero = 1
    """Operations per rollout that cost nothing (App. C.3)."""

    def __post_init__(self) -> None:
        if self.N < 0:
            raise ConfigError(f"reward term 'efficiency': N is {self.N}; it must be at least 0")

    def __call__(self, group: Group, scores: Sequence[float]) -> list[float]:
        return [float(min(self.N - y.n_operations, 0)) for y in group]
