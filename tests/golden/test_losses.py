"""Losses that the code before the learner gave (commit e5c9b86): five steps of SFT, three updates of GRPO.

The data are in the file, token by token, so that nothing but the mathematics can move the numbers: the
embedded model's weights, the layout of a conversation, the loss, the optimiser. Pictures are made here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.grpo import GrpoConfig
from pixelreasoner.objectives.samples import score_group, sft_sample
from pixelreasoner.policy.base import Sampling
from pixelreasoner.train.optim import OptimConfig
from pixelreasoner.train.rl import RLConfig, RLTrainer
from pixelreasoner.train.rl_update import update
from pixelreasoner.train.sft import SFTConfig, SFTTrainer

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
        sampled=segment(data["sampled"], tuple(data.get("logprobs", ()))),
        observation=None if observed is None else Observation(""),
        observed=None if observed is None else segment(observed),
        trainable=data["trainable"],
    )


def trajectory(data: dict[str, Any]) -> Trajectory:
    task = Task("golden", "", (), ())
    turns = tuple(map(turn, data["turns"]))
    return Trajectory(task, turns, StopReason.ANSWER, prompt=segment(data["prompt"]))


def assert_close(found: dict[str, float], wanted: dict[str, float]) -> None:
    for name in wanted.keys() & found.keys():
        assert found[name] == pytest.approx(wanted[name], rel=TOLERANCE, abs=1e-6), name


def test_five_steps_of_sft():
    recorded = RECORDED["sft"]
    model = VisionLanguageModel.load(checkpoint_folder("nano"))
    config = SFTConfig(
        out=Path("unused"), data=Path("unused"), batch_size=3, precision="fp32",
        micro_batch_tokens=recorded["micro_batch_tokens"], optim=OptimConfig(**recorded["optim"]),
    )  # fmt: skip
    trainer = SFTTrainer(model, config, len(recorded["steps"]))
    samples = [sft_sample(trajectory(y)) for y in recorded["trajectories"]]
    layouts = [model.renderer.layout(s.segments) for s in samples]
    for step in recorded["steps"]:
        batch = step["batch"]
        assert trainer.draw(len(samples)) == batch
        assert_close(trainer.update([samples[i] for i in batch], [layouts[i] for i in batch]), step)


def test_three_updates_of_grpo():
    recorded = RECORDED["rl"]
    config = RLConfig(
        out=Path("unused"), steps=3, updates_per_step=2, precision="fp32",
        micro_batch_tokens=recorded["micro_batch_tokens"], optim=OptimConfig(**recorded["optim"]),
        grpo=GrpoConfig(**recorded["grpo"]), sampling=Sampling(temperature=recorded["temperature"]),
    )  # fmt: skip
    trainer = RLTrainer(VisionLanguageModel.load(checkpoint_folder("nano")), config)
    groups = [
        score_group(tuple(map(trajectory, g["trajectories"])), g["rewards"], scale="std")
        for g in recorded["groups"]
    ]
    for wanted in recorded["updates"]:
        assert_close(update(trainer, groups), wanted)
        trainer.step += 1
