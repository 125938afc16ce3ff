"""A task on which looking pays once it is learned, for a model of a few thousand weights.

A picture of coloured noise holds a small dot, red or blue, in the middle. The model sees the picture at 16 x
16 pixels, where next to nothing of the dot is left: without the operation `look`, which shows the middle at
full size, it can only guess, and is right in half of its rollouts.

`clumsy_checkpoint` makes a policy that looks in 40 % of its rollouts and then mostly gives up ("none"): it is
right in 15 % of those. At first looking costs, then, as in the paper's learning trap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget, Wording
from pixelreasoner.chat.encode import encode_trajectory
from pixelreasoner.chat.hermes import format_call
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.learn.factory import Factory
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.nano.scratch import Architecture, new_checkpoint
from pixelreasoner.objectives.scored_group import imitation
from pixelreasoner.objectives.sft import SftObjective
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.ops.operation import ToolSchema, check_names, function_schema
from pixelreasoner.ops.toolbox import Toolbox

COLOURS = {"red": (230, 30, 30), "blue": (30, 30, 230)}
MIDDLE = slice(120, 136)
"""Of a side of 256 pixels."""
LOOK = ToolCall("look", {})
INTERACTION = {
    "operations": [{"use": "learning_task:LookAtMiddle", "name": "look"}],
    "sampling": {"max_tokens": 12},
    "limits": {"max_operations": 1},
}
GIVES_UP = "none"


@dataclass(frozen=True)
class LookAtMiddle:
    """The middle of the picture, at full size."""

    name: str = "look"

    @property
    def schema(self) -> ToolSchema:
        return function_schema(self.name, "Show the middle.", {})

    def __call__(self, arguments: Mapping[str, Any], context: ImageContext) -> Observation:
        check_names(arguments, ())
        pixels = context.images[0].picture.pixels[MIDDLE, MIDDLE]
        box = Box(MIDDLE.start, MIDDLE.start, MIDDLE.stop, MIDDLE.stop)
        return Observation("Closer:", (Picture(np.ascontiguousarray(pixels)),), box=box)


def dot_task(number: int) -> Task:
    """The same task for the same number; red or blue at random."""
    random = np.random.default_rng([7, number])
    pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    colour = list(COLOURS)[int(random.integers(2))]
    pixels[MIDDLE, MIDDLE] = 128
    pixels[122:134, 122:134] = COLOURS[colour]
    cue = Cue(Box(122, 122, 134, 134))
    return Task(
        f"dot/{number}", "Which colour?", (Picture(pixels),), (colour,), cue=cue, needs_operation=True
    )


def answer(colour: str) -> str:
    return f"\\boxed{{{colour}}}"


@dataclass(frozen=True)
class Lesson:
    """A stretch of the warm start."""

    steps: int
    looks: float
    """The share of trajectories that look."""
    right: float
    """The share of those that name the colour; the others give up."""


WARM_START = (Lesson(steps=200, looks=0.9, right=1.0), Lesson(steps=60, looks=0.4, right=0.15))
"""First the format, and what red and blue look like; then the clumsy policy."""


def clumsy_checkpoint(folder: Path, *, seed: int) -> Path:
    """A model with random weights, tuned on trajectories until it speaks the format, clumsily."""
    shown = PixelBudget(min_pixels=256, max_pixels=256)
    base = folder / "base"
    new_checkpoint(
        base,
        architecture=Architecture(
            vocab_size=1400, hidden_size=32, layers=2, heads=2, kv_heads=1, intermediate_size=64,
            vision_hidden_size=16, vision_depth=1, vision_heads=2, vision_intermediate_size=32, patch_size=8,
            position_grid=4,
        ),
        chat_format=ChatFormat(
            system="", guideline="", error_reply="No.", image=shown, crop=shown, video_frame=shown
        ),
        corpus=["Which colour?", format_call(LOOK), *map(answer, (*COLOURS, GIVES_UP)), "Closer:"] * 50,
        seed=seed,
    )  # fmt: skip
    factory = Factory(ModelConfig(checkpoint=str(base), device="cpu", dtype="fp32"), Wording())
    renderer = factory.renderer
    toolbox = Interaction.model_validate(INTERACTION).toolbox(renderer.vision.unit, renderer.chat_format)
    assert toolbox is not None
    random = np.random.default_rng(seed)
    steps = sum(lesson.steps for lesson in WARM_START)
    optim = LearnerConfig(optim=OptimConfig(lr=1e-2), total_updates=steps, max_row_tokens=4096)
    learner = factory.learner(SftObjective(), optim)
    for lesson in WARM_START:
        written = (_clumsy(dot_task(i), lesson, toolbox, renderer.vision, random) for i in range(200))
        data = [imitation(encode_trajectory(y, renderer, toolbox.schemas)) for y in written]
        for _ in range(lesson.steps):
            learner.update([data[i] for i in random.choice(len(data), 16, replace=False)])
    learner.save(folder / "clumsy")
    return folder / "clumsy"


def _clumsy(
    task: Task, lesson: Lesson, toolbox: Toolbox, vision: VisionSpec, random: np.random.Generator
) -> Trajectory:
    """One trajectory of the warm start."""
    if random.random() >= lesson.looks:
        said, turns = list(COLOURS)[int(random.integers(2))], ()
    else:
        said = task.answers[0] if random.random() < lesson.right else GIVES_UP
        turns = (Turn(format_call(LOOK), LOOK, toolbox.execute(LOOK, vision.image_context(task.media))),)
    return Trajectory(task, (*turns, Turn(answer(said))), StopReason.ANSWER, said)
