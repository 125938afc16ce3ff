"""What a step logs about its rollouts: by hand."""

from __future__ import annotations

import pytest

from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.objectives.scored_group import score_group
from pixelreasoner.train.rl_metrics import rollout_metrics


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
            "operations": 0.5, "invalid_operations": 0.25, "turns": 7 / 4, "sampled_tokens": 21 / 4,
            "zero_advantage_groups": 0.5, "rapr_needs_operation": 0.5, "accuracy_needs_operation": 0.5,
            "stop_answer": 0.75, "stop_turn_limit": 0.0, "stop_token_limit": 0.25, "stop_image_limit": 0.0,
        }
    )  # fmt: skip
