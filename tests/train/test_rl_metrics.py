"""What a step logs about its rollouts: by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.objectives.scored_group import ScoredGroup, score_group
from pixelreasoner.train.rl_metrics import replay_metrics, rollout_metrics


def rollout(
    *, crops: int = 0, failed: int = 0, needs: bool | None = None, stop: StopReason = StopReason.ANSWER
) -> Trajectory:
    """So many crops, then failed calls, then an answer; three sampled tokens per turn."""
    sampled = Segment((1, 2, 3))
    turns = [Turn("", observation=Observation(""), sampled=sampled)] * crops
    turns += [Turn("", observation=Observation("", valid=False), sampled=sampled)] * failed
    task = Task("t", "Q?", (), ("A",), needs_operation=needs)
    return Trajectory(task, (*turns, Turn("", sampled=sampled)), stop)


def test_means_over_all_rollouts():
    groups = [
        score_group(
            (rollout(crops=2, needs=True), rollout(failed=1, needs=True, stop=StopReason.TOKEN_LIMIT)),
            {"correctness": [1.0, 0.0], "curiosity": [0.5, 0.0]}, scale="std", scores=[1.0, 0.0],
        ),
        score_group(
            (rollout(needs=False), rollout(needs=False)),
            {"correctness": [1.0, 1.0], "curiosity": [0.0, 0.0]}, scale="std", scores=[1.0, 1.0],
        ),
    ]  # fmt: skip
    assert rollout_metrics(groups) == pytest.approx(
        {
            "reward": 3.5 / 4, "accuracy": 0.75, "correctness": 0.75, "curiosity": 0.125, "rapr": 0.25,
            "operations": 0.5, "unread_operations": 0.0, "invalid_operations": 0.25,
            "turns": 7 / 4, "sampled_tokens": 21 / 4,
            "zero_advantage_groups": 0.5, "rapr_needs_operation": 0.5, "accuracy_needs_operation": 0.5,
            "stop_answer": 0.75, "stop_turn_limit": 0.0, "stop_token_limit": 0.25, "stop_image_limit": 0.0,
        }
    )  # fmt: skip


def test_crops_of_everything_show_in_the_metrics():
    """The whole 8 x 8 picture covers the 4 x 4 cue: a hit, of an IoU of 16/64."""
    picture = Picture(np.zeros((8, 8, 3), np.uint8))
    task = Task("t", "Q?", (picture,), ("A",), cue=Cue(Box(0, 0, 4, 4)), needs_operation=True)
    everything = Observation("", (picture,), box=Box(0, 0, 8, 8))
    y = Trajectory(task, (Turn("", observation=everything), Turn("")), StopReason.ANSWER)
    metrics = rollout_metrics(
        [score_group((y, y), {"correctness": [1.0, 0.0]}, scale="std", scores=[1.0, 0.0])]
    )
    assert [metrics[name] for name in ("cue_coverage", "cue_iou", "whole_image_crops")] == [1.0, 0.25, 1.0]


def sampled_by(version: int) -> ScoredGroup:
    old = replace(rollout(), turns=(Turn("", weight_version=version),))
    return score_group((old, old), {"correctness": [1.0, 0.0]}, scale="std")


def test_the_age_of_what_is_replayed_is_counted_in_steps():
    batch = [sampled_by(7), sampled_by(7), sampled_by(6), sampled_by(3)]
    assert replay_metrics(batch, step=7) == {
        "replayed_groups": 2.0, "replay_share": 0.5, "replay_age_mean": 2.5, "replay_age_max": 4.0,
    }  # fmt: skip


def test_where_nothing_is_replayed_there_is_no_age():
    assert replay_metrics([sampled_by(7)], step=7) == {"replayed_groups": 0.0, "replay_share": 0.0}
    assert replay_metrics([], step=0) == {"replayed_groups": 0.0, "replay_share": 0.0}
