"""Tasks whose answer is a colour that only a crop shows; policies that read it, and cheats that do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pixelreasoner.chat.hermes import format_call
from pixelreasoner.chat.plain import PlainRenderer
from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.records import write_tasks
from pixelreasoner.core.task import Cue, Task
from pixelreasoner.evals.run import EvalConfig, Evaluated
from pixelreasoner.policy.base import CompletionRequest, Sampling
from pixelreasoner.policy.scripted import ScriptedPolicy, turn_of
from pixelreasoner.tasks.config import TasksConfig

RENDERER = PlainRenderer()
COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "grey": (128, 128, 128)}
SIDE, PATCH = 64, 12
CALL = format_call(ToolCall("crop_image", {"bbox_2d": [40, 8, 40 + PATCH, 8 + PATCH], "target_image": 1}))


def colour_task(number: int) -> Task:
    """Task `number`: a patch at [40, 8, 52, 20], red, green or blue by its number; all else is black."""
    name = ("red", "green", "blue")[number % 3]
    pixels = np.full((SIDE, SIDE, 3), number, np.uint8)
    pixels[8 : 8 + PATCH, 40 : 40 + PATCH] = COLOURS[name]
    cue = Cue(Box(40, 8, 40 + PATCH, 8 + PATCH))
    question = f"Question {number}: what colour is the patch?"
    return Task(
        f"t{number}", question, (Picture(pixels),), (name,), kind="patch", cue=cue, needs_operation=True
    )


def colour_recipe(folder: Path, n: int, **more: object) -> EvalConfig:
    """A recipe of an evaluation of `n` of them; its model is one of `POLICIES`."""
    source = folder / "tasks.jsonl"
    write_tasks(source, map(colour_task, range(n)))
    config = EvalConfig(
        out=folder / "out", tasks=TasksConfig(source=str(source), split="test"), batch_size=5, **more
    )
    return config.model_copy(
        update={"interaction": config.interaction.model_copy(update={"sampling": Sampling(temperature=0.0)})}
    )


def memorised(request: CompletionRequest) -> str:
    """The answer, known from the question alone."""
    match = re.search(r"Question (\d+)", RENDERER.decode(request.segments[0].ids))
    assert match is not None
    return ("red", "green", "blue")[int(match[1]) % 3]


def colour_seen(request: CompletionRequest) -> str:
    """What the last picture shows in the middle: the colour nearest to it, or none of them."""
    picture = request.segments[-1].media[-1]
    assert isinstance(picture, Picture)
    middle = picture.pixels[picture.size.height // 2, picture.size.width // 2].astype(int)
    return min(COLOURS, key=lambda name: int(np.abs(middle - COLOURS[name]).sum()))


def reader(request: CompletionRequest, turn: int) -> str:
    """Calls, and answers with the colour of what it is shown."""
    return CALL if turn == 0 else f"\\boxed{{{colour_seen(request)}}}"


def ignorer(request: CompletionRequest, turn: int) -> str:
    """Calls and ignores what it sees: it has the answer by heart, and says it beside the call already."""
    return f"{CALL if turn == 0 else ''} \\boxed{{{memorised(request)}}}"


def pretender(request: CompletionRequest, turn: int) -> str:
    """As `ignorer`, and gives no answer until it has called: without operations it has none."""
    return CALL if turn == 0 else f"\\boxed{{{memorised(request)}}}"


def base(request: CompletionRequest, turn: int) -> str:
    """Does not know, and does not call."""
    return "\\boxed{?}"


POLICIES: dict[str, Callable[[CompletionRequest, int], str]] = {
    "reader": reader, "ignorer": ignorer, "pretender": pretender, "base": base,
}  # fmt: skip


def load_scripted(config: EvalConfig) -> Evaluated:
    """In the place of a checkpoint: the policy that its name says."""
    script = POLICIES[config.model.checkpoint]
    return Evaluated(ScriptedPolicy(lambda r, _: script(r, turn_of(r)), RENDERER), RENDERER)
