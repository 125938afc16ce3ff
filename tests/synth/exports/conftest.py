"""A small run of synthesis with every template, about pictures and about videos."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.run import run

MODEL_TYPES = {"relative": "qwen3_vl", "pixel": "qwen2_5_vl"}


def make_run(folder: Path, unit: str = "relative", **changes: object) -> Path:
    """The folder of a run for a model that points in this unit."""
    checkpoint = folder / f"checkpoint-{unit}"
    checkpoint.mkdir(parents=True)
    config = {"model_type": MODEL_TYPES[unit], "vision_config": {"patch_size": 8, "spatial_merge_size": 2}}
    (checkpoint / "config.json").write_text(json.dumps(config))
    ChatFormat(
        system="You see.",
        image=PixelBudget(min_pixels=1024, max_pixels=128 * 128),
        crop=PixelBudget(min_pixels=64 * 64, max_pixels=96 * 96),
    ).save(checkpoint)
    out = folder / f"run-{unit}"
    tasks = {"options": {"kinds": ["attribute", "clip"]}}
    video = {"single_pass": 0.5, "reselect": 0.5}
    given = {"out": out, "checkpoint": str(checkpoint), "tasks": tasks, "n": 16, "mix": {"video": video}}
    run(SynthConfig.model_validate({**given, **changes}))
    return out


@pytest.fixture(scope="session")
def synth_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("synth"))


@pytest.fixture(scope="session")
def made(synth_run: Path) -> list[Trajectory]:
    return list(read_trajectories(synth_run / "trajectories.jsonl"))
