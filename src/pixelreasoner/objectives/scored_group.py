"""The second of the three forms from a rollout to a loss: a group with its rewards and its advantages.

`Trajectory` -> `ScoredGroup` -> `PackedRow` (`objectives.packing`). A group stays a group until it is a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pixelreasoner.core.trajectory import Group, Trajectory
from pixelreasoner.objectives.advantages import AdvantageScale, group_advantages
from pixelreasoner.objectives.truncation import nothing_to_learn


@dataclass(frozen=True)
class ScoredGroup:
    """The rollouts of one task. Every tuple has one entry per trajectory, in their order."""

    trajectories: Group
    terms: Mapping[str, tuple[float, ...]]
    """The reward's terms by name, weighted: they add up to `rewards`."""
    rewards: tuple[float, ...]
    advantages: tuple[float, ...]
    scores: tuple[float, ...] = ()
    """What the scorer gave each answer, in [0, 1]; empty when nothing was scored."""

    @property
    def informative(self) -> bool:
        """Whether any advantage is not zero; without one, the group has no gradient."""
        return any(advantage != 0.0 for advantage in self.advantages)


def score_group(
    trajectories: Group,
    terms: Mapping[str, Sequence[float]],
    *,
    scale: AdvantageScale,
    scores: Sequence[float] = (),
) -> ScoredGroup:
    """The group with the sum of its reward terms, and the group advantages of that.

    A trajectory that is masked from end to end counts in the mean of its group, and has no advantage itself.

    Args:
        trajectories: all rollouts of one task.
        terms: one number per trajectory for each term, weights included; added up in this order.
        scale: see `group_advantages`; "correctness" reads the term of that name.
        scores: of the answers; only kept.
    """
    rewards = tuple(map(sum, zip(*terms.values(), strict=True)))
    assert len(rewards) == len(trajectories), f"{len(trajectories)} trajectories but {len(rewards)} rewards"
    correctness = terms["correctness"] if scale == "correctness" else None
    advantages = group_advantages(rewards, scale=scale, correctness=correctness)
    return ScoredGroup(
        trajectories=trajectories,
        terms={name: tuple(values) for name, values in terms.items()},
        rewards=rewards,
        advantages=tuple(
            0.0 if nothing_to_learn(y) else advantage
            for y, advantage in zip(trajectories, advantages.tolist(), strict=True)
        ),
        scores=tuple(scores),
    )


def imitation(trajectory: Trajectory) -> ScoredGroup:
    """A trajectory to imitate (SFT): a group of one, with an advantage of 1."""
    return ScoredGroup((trajectory,), {}, (1.0,), (1.0,))
