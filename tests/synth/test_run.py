"""A synthesis run: exact, in a fixed order, and the same however often it was interrupted."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.recipe import load_recipe
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.rewards.scorers import exact
from pixelreasoner.synth.compose import verify
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.run import run


def config(checkpoint: Path, out: Path, **changes: object) -> SynthConfig:
    tasks = {"options": {"kinds": ["attribute", "page"]}}
    given = {"out": out, "checkpoint": str(checkpoint), "tasks": tasks, "n": 15, **changes}
    return SynthConfig.model_validate(given)


def written(config: SynthConfig) -> list[Trajectory]:
    run(config)
    return list(read_trajectories(config.out / "trajectories.jsonl"))


def files_of(folder: Path) -> dict[str, bytes]:
    """All files of a run but its configuration and its status, which hold times and places."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    apart = {"config.toml", "run.json", ".lock"}
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.name not in apart}


def test_a_run_writes_what_its_mix_says(checkpoint: Path, tmp_path: Path):
    counts = run(config(checkpoint, tmp_path / "out"))
    # 4 of 15 text-only, and 30/20/20/30 % of 11: 3.3, 2.2, 2.2, 3.3, the remainder to single_pass.
    assert counts == {
        "text_only": 4,
        "single_pass": 4,
        "recrop_once": 2,
        "recrop_twice": 2,
        "further_zoom": 3,
    }
    read = list(read_trajectories(tmp_path / "out" / "trajectories.jsonl"))
    assert Counter(t.source for t in read) == counts
    assert all(verify(t, exact, HERMES) == [] for t in read)
    assert {t.coordinates for t in read} == {"relative"}
    assert {t.task.split for t in read} == {"train"}
    assert len({t.task.id for t in read}) == 15


@pytest.mark.parametrize("kept", [0, 4, 15])
def test_a_resumed_run_is_the_uninterrupted_one(checkpoint: Path, tmp_path: Path, kept: int):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(config(checkpoint, whole))
    run(config(checkpoint, cut))
    lines = (whole / "trajectories.jsonl").read_bytes().splitlines(keepends=True)
    # Killed within a line.
    torn = lines[kept][:100] if kept < len(lines) else b""
    (cut / "trajectories.jsonl").write_bytes(b"".join(lines[:kept]) + torn)
    run(config(checkpoint, cut), resume=True)
    assert (cut / "trajectories.jsonl").read_bytes() == b"".join(lines)


def test_without_resume_a_run_that_is_there_is_kept(checkpoint: Path, tmp_path: Path):
    run(config(checkpoint, tmp_path / "out", n=3))
    with pytest.raises(ConfigError, match="already holds a run"):
        run(config(checkpoint, tmp_path / "out", n=3))
    assert len(list(read_trajectories(tmp_path / "out" / "trajectories.jsonl"))) == 3


def test_another_configuration_cannot_go_on(checkpoint: Path, tmp_path: Path):
    run(config(checkpoint, tmp_path / "out", n=2))
    with pytest.raises(ConfigError, match="differs from the recipe"):
        run(config(checkpoint, tmp_path / "out", n=2, seed=1), resume=True)
    # Processes are no part of what is written.
    run(config(checkpoint, tmp_path / "out", n=2, workers=2), resume=True)


def test_processes_do_not_change_the_result(checkpoint: Path, tmp_path: Path):
    run(config(checkpoint, tmp_path / "alone", n=4))
    run(config(checkpoint, tmp_path / "two", n=4, workers=2))
    assert files_of(tmp_path / "two") == files_of(tmp_path / "alone")


def test_seeds_change_the_words_and_boxes(checkpoint: Path, tmp_path: Path):
    def texts(seed: int) -> list[str]:
        made = written(config(checkpoint, tmp_path / str(seed), seed=seed, n=5))
        return [turn.text for trajectory in made for turn in trajectory.turns]

    assert texts(0) != texts(1)


def test_a_recipe_file_reads_back(tmp_path: Path):
    path = tmp_path / "synth.toml"
    path.write_text(
        'out = "runs/synth"\nn = 10\n[mix]\ntext_only = 0.5\n[mix.video]\nsingle_pass = 1.0\nreselect = 0.0\n'
    )
    loaded = load_recipe(SynthConfig, path, ["mix.self_correction=false"])
    assert (loaded.n, loaded.mix.text_only, loaded.mix.video.reselect) == (10, 0.5, 0.0)
    assert loaded.mix.self_correction is False


def test_boxes_are_written_in_the_unit_of_the_family(checkpoint: Path, tmp_path: Path):
    """The same regions for a model that points in pixels of the image as it is shown."""
    pixels = tmp_path / "pixels"
    shutil.copytree(checkpoint, pixels)
    read = json.loads((pixels / "config.json").read_text()) | {"model_type": "qwen2_5_vl"}
    (pixels / "config.json").write_text(json.dumps(read))
    relative = written(config(checkpoint, tmp_path / "relative", n=6, coordinate_step=1))
    shown = written(config(pixels, tmp_path / "shown", n=6, coordinate_step=1))
    assert {t.coordinates for t in relative} == {"relative"}
    assert len({t.coordinates for t in shown} | {"relative"}) == 2
    for a, b in zip(relative, shown, strict=True):
        for mine, theirs in zip(a.turns, b.turns, strict=True):
            if mine.call is not None and theirs.call is not None and mine.observation is not None:
                assert mine.call.arguments["bbox_2d"] != theirs.call.arguments["bbox_2d"]
                assert theirs.observation is not None
                assert theirs.observation.valid
                # Below one step of the coarser grid: a pixel of an image shown at 128 pixels.
                step = max(a.task.media[0].size) / 64
                assert abs(mine.observation.box.x1 - theirs.observation.box.x1) <= step
