"""Losses that the code before the learner gave (commit e5c9b86): five steps of SFT, three updates of GRPO.

The data are in the file, token by token, so that nothing but the mathematics can move the numbers: the
embedded model's weights, the layout of a conversation, the loss, the optimiser. Pictures are made here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelreasoner.chat.chat_format import Wording
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.learn.factory import Factory
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.models.config import ModelConfig, TrainableParts
from pixelreasoner.objectives.grpo import GrpoConfig, GrpoObjective
from pixelreasoner.objectives.scored_group import imitation, score_group
from pixelreasoner.objectives.sft import SftObjective

RECORDED = json.loads((Path(__file__).parent / "losses.json").read_text())
TOLERANCE = 1e-5
"""Relative; of float32 sums in another order."""


def picture(width: int, height: int, seed: int) -> Picture:
    """Random squares of 8 x 8 pixels."""
    shape = (height // 8, width // 8, 3)
    squares = np.random.default_rng([seed, width, height]).integers(0, 256, shape, dtype=np.uint8)
    return Picture(squares.repeat(8, axis=0).repeat(8, axis=1))


def segment(data: dict[str, Any], logprobs: tuple[float, ...] = ()) -> Segment:
    return Segment(tuple(data["ids"]), tuple(picture(*shape) for shape in data["pictures"]), logprobs)


def turn(data: dict[str, Any]) -> Turn:
    observed = data["observed"]
    return Turn(
        text="",
        sampled=replace(
            segment(data["sampled"], tuple(data.get("logprobs", ()))),
            masked=None if data["trainable"] else (0, len(data["sampled"]["ids"])),
        ),
        observation=None if observed is None else Observation(""),
        observed=None if observed is None else segment(observed),
    )


def trajectory(data: dict[str, Any]) -> Trajectory:
    task = Task("golden", "", (), ())
    turns = tuple(map(turn, data["turns"]))
    return Trajectory(task, turns, StopReason.ANSWER, prompt=segment(data["prompt"]))


def assert_close(found: dict[str, float], wanted: dict[str, float]) -> None:
    assert found.keys() >= wanted.keys()
    for name in wanted:
        assert found[name] == pytest.approx(wanted[name], rel=TOLERANCE, abs=1e-6), name


def test_five_steps_of_sft():
    recorded = RECORDED["sft"]
    config = LearnerConfig(
        optim=OptimConfig(**recorded["optim"]),
        total_updates=len(recorded["steps"]),
        max_row_tokens=recorded["micro_batch_tokens"],
    )
    learner = Factory(ModelConfig(dtype="fp32", train=TrainableParts(vision=False)), Wording()).learner(
        SftObjective(), config
    )
    groups = [imitation(trajectory(y)) for y in recorded["trajectories"]]
    for step in recorded["steps"]:
        found = learner.update([groups[i] for i in step["batch"]])
        assert_close(found, {name: value for name, value in step.items() if name != "batch"})


def test_three_updates_of_grpo():
    recorded = RECORDED["rl"]
    config = LearnerConfig(
        optim=OptimConfig(**recorded["optim"]),
        total_updates=len(recorded["updates"]),
        steps_per_update=recorded["updates_per_step"],
        max_row_tokens=recorded["micro_batch_tokens"],
    )
    objective = GrpoObjective(GrpoConfig(**recorded["grpo"]), recorded["temperature"])
    learner = Factory(ModelConfig(dtype="fp32"), Wording()).learner(objective, config)
    groups = [
        score_group(tuple(map(trajectory, g["trajectories"])), {"reward": g["rewards"]}, scale="std")
        for g in recorded["groups"]
    ]
    for wanted in recorded["updates"]:
        assert_close(learner.update(groups), wanted)
