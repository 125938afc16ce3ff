"""From a trajectory to what an update reads: its tokens, and which of them are learned.

The mask is made here and nowhere else. For the example of `core.trajectory`, a wrong first crop included::

    segment              tokens        mask
    prompt               p0 p1 p2      0 0 0
    turn 1 sampled       a0 a1 <stop>  0 0 0     trainable=False: a deliberately wrong operation
    turn 1 observed      o0 o1         0 0       what an operation returned is never learned
    turn 2 sampled       b0 b1 <stop>  1 1 1     stop token included: the model learns to end
    turn 2 observed      o2 o3         0 0
    turn 3 sampled       c0 <stop>     1 1

Each image is one token here, as in `Segment`. `mask[t]` speaks of token t as a target: log p(t | before t).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.trajectory import Group, Segment, Trajectory
from pixelreasoner.objectives.advantages import AdvantageScale, group_advantages


@dataclass(frozen=True)
class ScoredGroup:
    """The attempts at one task, with a reward and an advantage for each."""

    group: Group
    rewards: tuple[float, ...]
    advantages: tuple[float, ...]

    @property
    def informative(self) -> bool:
        """Whether any attempt was better than another; the gradient of the others is zero."""
        return any(a != 0.0 for a in self.advantages)


@dataclass(frozen=True, eq=False)
class TrainSample:
    """One trajectory as an update reads it. S is the number of its tokens, an image counting as one."""

    segments: tuple[Segment, ...]
    """Prompt, then sampled and observed in turn; S tokens together."""
    mask: npt.NDArray[np.bool_]
    """[S]: the loss tokens."""
    behavior_logp: npt.NDArray[np.float32]
    """[S]: log p of each loss token under the policy that sampled it; 0 elsewhere."""
    advantage: float = 1.0
    """A(x, y) of the whole trajectory."""

    @property
    def n_loss_tokens(self) -> int:
        return int(self.mask.sum())


def score_group(group: Group, rewards: Sequence[float], *, scale: AdvantageScale) -> ScoredGroup:
    """The group with its rewards and their group advantages."""
    advantages = group_advantages(rewards, scale=scale)
    assert len(group) == len(advantages), f"{len(group)} attempts but {len(advantages)} rewards"
    return ScoredGroup(group, tuple(rewards), tuple(advantages.tolist()))


def loss_mask(trajectory: Trajectory) -> npt.NDArray[np.bool_]:
    """[S] over the tokens of `trajectory.segments`: True for exactly the sampled tokens of turns to learn.

    Raises:
        RecordError: no renderer has written the trajectory's tokens.
    """
    runs = [np.zeros(len(_prompt(trajectory).ids), dtype=bool)]
    for turn in trajectory.turns:
        if turn.sampled is not None:
            runs.append(np.full(len(turn.sampled.ids), turn.trainable))
        if turn.observed is not None:
            runs.append(np.zeros(len(turn.observed.ids), dtype=bool))
    return np.concatenate(runs)


def to_samples(scored: ScoredGroup) -> list[TrainSample]:
    """One RL sample per attempt, those with zero advantage included (they count in the normalisation).

    Raises:
        RecordError: a trajectory has no tokens, or tokens to learn without log-probabilities.
    """
    return [
        _sample(trajectory, advantage, needs_logp=True)
        for trajectory, advantage in zip(scored.group, scored.advantages, strict=True)
    ]


def sft_sample(trajectory: Trajectory) -> TrainSample:
    """The trajectory as something to imitate: advantage 1, no behaviour policy needed.

    Raises:
        RecordError: no renderer has written the trajectory's tokens.
    """
    return _sample(trajectory, 1.0, needs_logp=False)


def _sample(trajectory: Trajectory, advantage: float, *, needs_logp: bool) -> TrainSample:
    mask = loss_mask(trajectory)
    behavior_logp = np.zeros(len(mask), dtype=np.float32)
    at = len(_prompt(trajectory).ids)
    for turn in trajectory.turns:
        if turn.sampled is not None:
            end = at + len(turn.sampled.ids)
            if turn.trainable and needs_logp:
                behavior_logp[at:end] = _logprobs(turn.sampled, trajectory)
            at = end
        if turn.observed is not None:
            at += len(turn.observed.ids)
    return TrainSample(trajectory.segments, mask, behavior_logp, advantage)


def _prompt(trajectory: Trajectory) -> Segment:
    if trajectory.prompt is None:
        raise RecordError(
            f"the trajectory of task {trajectory.task.id!r} has no tokens; render it before training on it"
        )
    return trajectory.prompt


def _logprobs(sampled: Segment, trajectory: Trajectory) -> tuple[float, ...]:
    if len(sampled.logprobs) != len(sampled.ids):
        raise RecordError(
            f"the trajectory of task {trajectory.task.id!r} has {len(sampled.ids)} sampled tokens and "
            f"{len(sampled.logprobs)} log-probabilities; RL needs those of the policy that sampled it"
        )
    return sampled.logprobs
