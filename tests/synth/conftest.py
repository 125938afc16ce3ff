"""A checkpoint folder with what synthesis reads of one, and the tools of a model like it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget
from pixelreasoner.chat.checkpoint_files import load_vision_spec
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.synth.outline import Tools

CHAT_FORMAT = ChatFormat(
    system="",
    crop_reply="Image {index}:",
    image=PixelBudget(min_pixels=1024, max_pixels=128 * 128),
    crop=PixelBudget(min_pixels=64 * 64, max_pixels=96 * 96),
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    config = {"model_type": "qwen3_vl", "vision_config": {"patch_size": 8, "spatial_merge_size": 2}}
    (folder / "config.json").write_text(json.dumps(config))
    CHAT_FORMAT.save(folder)
    return folder


@pytest.fixture
def tools(checkpoint: Path) -> Tools:
    vision = load_vision_spec(checkpoint)
    return Tools.of(vision, 20, Interaction().toolbox(vision.unit, CHAT_FORMAT))
