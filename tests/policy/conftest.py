"""Prompts and groups of requests for them."""

from __future__ import annotations

import pytest

from pixelreasoner.core.task import Task
from policy_helpers import of_prompts
from prompting import prompt_of


@pytest.fixture
def single(model, folder):
    """The model in float32."""
    from pixelreasoner.models.vlm import VisionLanguageModel

    out = VisionLanguageModel.load(folder).eval()
    out.load_state_dict(model.state_dict())
    return out


@pytest.fixture
def prompts(renderer, picture, video):
    """Of different lengths: one picture, two pictures, a video, no media."""
    media = [(picture(40, 30),), (picture(20, 50), picture(33, 33, 1)), (video(5),), ()]
    return [
        prompt_of(renderer, Task(str(i), "What is it?" + "?" * i, m, ()), ()) for i, m in enumerate(media)
    ]


@pytest.fixture
def requests(prompts):
    """Three for each prompt."""
    return of_prompts(prompts, 3)
