"""Rollouts that a length limit cut off: which of their tokens are learned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.objectives.loss_mask import loss_mask
from pixelreasoner.objectives.scored_group import score_group
from pixelreasoner.objectives.truncation import mask_truncated, nothing_to_learn


def turn(*ids: int, observed: tuple[int, ...] | None = None) -> Turn:
    seen = None if observed is None else Observation("ok")
    return Turn(
        "words",
        sampled=Segment(ids, logprobs=(-0.5,) * len(ids)),
        observation=seen,
        observed=Segment(observed) if observed else None,
    )


def rollout(*turns: Turn, stop: StopReason = StopReason.TOKEN_LIMIT) -> Trajectory:
    return Trajectory(Task("t", "Q?", (), ("A",)), turns, stop, prompt=Segment((80, 81)))


CUT = rollout(turn(1, 2, observed=(90,)), turn(3, 4, 5))
"""An operation, and a message that ran into the limit."""
DID_NOT_FIT = rollout(turn(1, 2, observed=(90,)), turn(3, 4, observed=()))
"""Two operations; the second one's result did not fit."""


@pytest.mark.parametrize(
    ("trajectory", "mode", "mask"),
    [
        # prompt 80 81 | 1 2 | 90 | 3 4 5
        (CUT, "none", [0, 0, 1, 1, 0, 1, 1, 1]),
        (CUT, "turns", [0, 0, 1, 1, 0, 0, 0, 0]),
        (CUT, "all", [0, 0, 0, 0, 0, 0, 0, 0]),
        # prompt 80 81 | 1 2 | 90 | 3 4: both messages are whole
        (DID_NOT_FIT, "none", [0, 0, 1, 1, 0, 1, 1]),
        (DID_NOT_FIT, "turns", [0, 0, 1, 1, 0, 1, 1]),
        (DID_NOT_FIT, "all", [0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_what_is_learned(trajectory: Trajectory, mode, mask: list[int]):
    assert loss_mask(mask_truncated(trajectory, mode)).astype(int).tolist() == mask


@pytest.mark.parametrize("stop", [StopReason.ANSWER, StopReason.TURN_LIMIT, StopReason.IMAGE_LIMIT])
@pytest.mark.parametrize("mode", ["none", "turns", "all"])
def test_only_a_length_limit_masks(stop: StopReason, mode):
    whole = replace(CUT, stop=stop)
    assert mask_truncated(whole, mode) is whole


def test_a_masked_trajectory_counts_in_the_mean_and_has_no_gradient():
    """Rewards 0, 1, 1 have the mean 2/3 with the cut rollout and 1 without it."""
    answered = replace(CUT, stop=StopReason.ANSWER)
    group = (mask_truncated(CUT, "all"), answered, answered)
    scored = score_group(group, {"correctness": [0.0, 1.0, 1.0]}, scale="none")
    assert scored.rewards == (0.0, 1.0, 1.0)
    assert scored.advantages == pytest.approx((0.0, 1 / 3, 1 / 3))
    half = score_group((mask_truncated(CUT, "turns"), answered), {"correctness": [0.0, 1.0]}, scale="none")
    assert half.advantages == (-0.5, 0.5)


def test_a_group_of_masked_trajectories_alone_is_not_informative():
    group = (mask_truncated(CUT, "all"), mask_truncated(DID_NOT_FIT, "all"))
    assert all(map(nothing_to_learn, group))
    assert not score_group(group, {"bonus": [0.0, 1.0]}, scale="std").informative
