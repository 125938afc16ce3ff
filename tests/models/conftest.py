"""Copies of the tiny checkpoints that a test may damage, and rows to score."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from prompting import prompt_of


@pytest.fixture
def own_folder(folder: Path, tmp_path: Path) -> Path:
    """A copy of each family's checkpoint."""
    return Path(shutil.copytree(folder, tmp_path / "checkpoint"))


@pytest.fixture
def own_model(model):
    """A copy of each family's model, in float64."""
    from pixelreasoner.models.vlm import VisionLanguageModel

    return VisionLanguageModel(copy.deepcopy(model.hf), model.renderer)


@pytest.fixture
def hidden(picture) -> Callable:
    """The hidden states [T, D] of a packed row: a picture in the prompt, two completions."""
    import numpy as np

    from pixelreasoner.chat.layout import Layout
    from pixelreasoner.chat.prompting import task_messages
    from pixelreasoner.models.attention.shared_prefix import GroupSpan, PrefixPlan

    def pass_of(model):
        task = Task("a", "q", (picture(40, 24),), ())
        messages = task_messages(task, model.renderer.chat_format, tools=False)
        prompt = model.renderer.layout([model.renderer.prompt(messages, ())])
        n, own = len(prompt), (7, 4)
        more = sum(own)
        position = np.concatenate([np.arange(k) for k in own]) + prompt.next_position
        row = Layout(
            ids_T=np.concatenate([prompt.ids_T, np.arange(300, 300 + more)]),
            kind_T=np.concatenate([prompt.kind_T, np.zeros(more, np.int8)]),
            owner_T=np.full(n + more, -1),
            position_3T=np.concatenate([prompt.position_3T, np.tile(position, (3, 1))], 1),
            blocks=prompt.blocks,
        )
        batch = model.embed([row], model.encode(row.blocks), left=False)
        return model(batch, shared_prefix=PrefixPlan((GroupSpan(n, own),)))[0]

    return pass_of


@pytest.fixture
def trained(load_model, folder) -> Callable:
    """A copy in training mode that a test may change."""

    def make(dtype):
        from pixelreasoner.models.vlm import VisionLanguageModel

        model = load_model(folder)
        return VisionLanguageModel(copy.deepcopy(model.hf), model.renderer).to(dtype).train()

    return make


@pytest.fixture
def groups(picture, video):
    """Four groups: two images in the prompt, with crops of different sizes, of a crop, and none; a video and
    frames of it; words alone; and a single trajectory."""

    def make(renderer) -> list[Trajectory]:
        def written(prompt: Segment, *turns) -> Trajectory:
            made = []
            for said, seen in turns:
                observation = Observation("Image 2:", seen) if seen else None
                made.append(
                    Turn(
                        said,
                        sampled=Segment(renderer.encode(said)),
                        observation=observation,
                        observed=None if observation is None else renderer.observation(observation),
                    )
                )
            return Trajectory(Task("t", "", (), ()), tuple(made), StopReason.ANSWER, prompt=prompt)

        two = prompt_of(renderer, Task("a", "Which number?", (picture(40, 24), picture(24, 24, 1)), ()), ())
        clip = prompt_of(renderer, Task("b", "Which frame shows it?", (video(5, fps=4.0),), ()), ())
        plain = prompt_of(renderer, Task("c", "What is 7?", (), ()), ())
        small, wide = picture(16, 16, 2), picture(32, 16, 3)
        return [
            written(two, ("Closer.", (small,)), ("It is the K.", ())),
            written(two, ("The sign is tiny.", (wide,)), ("Closer.", (small,)), ("It reads 7.", ())),
            written(two, ("It is the red card.", ())),
            written(two, ("Which", (picture(16, 24, 4),)), ("It reads K.", ())),
            written(clip, ("Frames.", (picture(24, 16, 1), picture(24, 16, 3))), ("Red.", ())),
            written(clip, ("Nothing is here.", ())),
            written(plain, ("7.", ())),
            written(plain, ("Seven, which is a number.", ())),
            written(prompt_of(renderer, Task("d", "q", (small,), ()), ()), ("On its own.", ())),
        ]

    return make
