"""Which tokens of a trajectory are learned, and what the sampler thought of them.

The mask is made here and nowhere else. For the example of `core.trajectory`, a wrong first crop included::

    segment              tokens        mask
    prompt               p0 p1 p2      0 0 0
    turn 1 sampled       a0 c0 <stop>  1 0 0     masked=(1, 3): a deliberately wrong operation
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
    """[S] over the tokens of `trajectory.segments`: True for the sampled tokens that no mask covers.

    The paper masks execution outputs and "the tokens of erroneous visual operations" (section 4.1).

    Raises:
        RecordError: no renderer has written the trajectory's tokens.
    """
    runs = [np.zeros(len(prompt_of(trajectory).ids), dtype=bool)]
    for turn in trajectory.turns:
        if turn.sampled is not None:
            runs.append(_learned(turn.sampled))
        if turn.observed is not None:
            runs.append(np.zeros(len(turn.observed.ids), dtype=bool))
    return np.concatenate(runs)


def behavior_logprobs(trajectory: Trajectory) -> npt.NDArray[np.float32]:
    """[N]: log p of each loss token under the policy that sampled it.

    Raises:
        RecordError: a message with loss tokens was recorded without them.
    """
    logp: list[npt.NDArray[np.float32]] = []
    for sampled in (turn.sampled for turn in trajectory.turns if turn.sampled is not None):
        learned = _learned(sampled)
        if not learned.any():
            continue
        if len(sampled.logprobs) != len(sampled.ids):
            raise RecordError(
                f"the trajectory of task {trajectory.task.id!r} has {len(sampled.ids)} sampled tokens and "
                f"{len(sampled.logprobs)} log-probabilities; RL needs those of the policy that sampled it"
            )
        logp.append(np.array(sampled.logprobs, dtype=np.float32)[learned])
    return np.concatenate(logp) if logp else np.zeros(0, dtype=np.float32)


def _learned(sampled: Segment) -> npt.NDArray[np.bool_]:
    learned = np.ones(len(sampled.ids), dtype=bool)
    if sampled.masked is not None:
        learned[slice(*sampled.masked)] = False
    return learned


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
