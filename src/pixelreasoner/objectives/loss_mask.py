"""Which tokens of a trajectory are learned, and what the sampler thought of them.

The mask is made here and nowhere else. For the example of `core.trajectory`, a wrong first crop included::

    segment              tokens        mask
    prompt               p0 p1 p2      0 0 0
    turn 1 sampled       a0 a1 <stop>  0 0 0     trainable=False: a deliberately wrong operation
    turn 1 observed      o0 o1         0 0       what an operation returned is never learned
    turn 2 sampled       b0 b1 <stop>  1 1 1     stop token included: the model learns to end
    turn 2 observed      o2 o3         0 0
    turn 3 sampled       c0 <stop>     1 1

Each image is one token here, as in `Segment`. `mask[t]` speaks of token t as a target: log p(t | before t).

Shape legend: S recorded tokens of a trajectory, N loss tokens.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.trajectory import Segment, Trajectory


def loss_mask(trajectory: Trajectory) -> npt.NDArray[np.bool_]:
    """[S] over the tokens of `trajectory.segments`: True for exactly the sampled tokens of trainable turns.

    Raises:
        RecordError: no renderer has written the trajectory's tokens.
    """
    runs = [np.zeros(len(prompt_of(trajectory).ids), dtype=bool)]
    for turn in trajectory.turns:
        if turn.sampled is not None:
            runs.append(np.full(len(turn.sampled.ids), turn.trainable))
        if turn.observed is not None:
            runs.append(np.zeros(len(turn.observed.ids), dtype=bool))
    return np.concatenate(runs)


def behavior_logprobs(trajectory: Trajectory) -> npt.NDArray[np.float32]:
    """[N]: log p of each loss token under the policy that sampled it.

    Raises:
        RecordError: a trainable turn was recorded without them.
    """
    turns = [turn.sampled for turn in trajectory.turns if turn.trainable and turn.sampled is not None]
    for sampled in turns:
        if len(sampled.logprobs) != len(sampled.ids):
            raise RecordError(
                f"the trajectory of task {trajectory.task.id!r} has {len(sampled.ids)} sampled tokens and "
                f"{len(sampled.logprobs)} log-probabilities; RL needs those of the policy that sampled it"
            )
    return np.array([logp for sampled in turns for logp in sampled.logprobs], dtype=np.float32)


def prompt_of(trajectory: Trajectory) -> Segment:
    """The prompt's tokens.

    Raises:
        RecordError: no renderer has written them.
    """
    if trajectory.prompt is None:
        raise RecordError(
            f"the trajectory of task {trajectory.task.id!r} has no tokens; render it before training on it"
        )
    return trajectory.prompt
