"""Copies of the tiny checkpoints that a test may damage, and rows to score."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


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
    from pixelreasoner.core.task import Task
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
