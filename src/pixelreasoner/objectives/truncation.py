"""What a rollout that a length limit cut off teaches: overlong filtering (DAPO, arXiv 2503.14476, sec. 3.4).

Such a rollout has no answer, hence a low reward, whether its reasoning was wrong or only long.
`MaskTruncated` says which of its sampled tokens are learned; its reward counts in its group's mean either
way::

    "none"     all of them: running into the limit is a mistake like any other
    "turns"    all but those of the message that was cut
    "all"      none: the trajectory has no gradient
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn

MaskTruncated = Literal["none", "turns", "all"]


def mask_truncated(trajectory: Trajectory, mode: MaskTruncated) -> Trajectory:
    """The trajectory with its masks, as `mode` says; itself, if no length limit cut it off.

    Where the last message was whole, and it was the result of its operation that did not fit, no message was
    cut: "turns" masks none.
    """
    if mode == "none" or trajectory.stop is not StopReason.TOKEN_LIMIT or not trajectory.turns:
        return trajectory
    *earlier, last = trajectory.turns
    if mode == "all":
        return replace(trajectory, turns=(*map(_masked, earlier), _masked(last)))
    return trajectory if last.asked_operation else replace(trajectory, turns=(*earlier, _masked(last)))


def nothing_to_learn(trajectory: Trajectory) -> bool:
    """Whether every sampled token is masked."""
    sampled = [turn.sampled for turn in trajectory.turns if turn.sampled is not None]
    return bool(sampled) and all(segment.masked == (0, len(segment.ids)) for segment in sampled)


def _masked(turn: Turn) -> Turn:
    if turn.sampled is None:
        return turn
    sampled = replace(turn.sampled, masked=(0, len(turn.sampled.ids)))
    return replace(turn, masked=(0, len(turn.text)), sampled=sampled)
