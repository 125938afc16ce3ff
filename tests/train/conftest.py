"""A checkpoint of a few thousand weights."""

from pathlib import Path

import pytest

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget
from pixelreasoner.nano.scratch import Architecture, new_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rl") / "tiny"
    budget = PixelBudget(min_pixels=256, max_pixels=32 * 32)
    new_checkpoint(
        folder,
        architecture=Architecture(
            vocab_size=1500, hidden_size=32, layers=2, heads=2, kv_heads=1, intermediate_size=48,
            vision_hidden_size=16, vision_depth=1, vision_heads=2, vision_intermediate_size=32,
            position_grid=4,
        ),
        chat_format=ChatFormat(system="", guideline="", image=budget, crop=budget, video_frame=budget),
        corpus=["Which letter is on the red card?"] * 50,
        seed=3,
    )  # fmt: skip
    return folder
