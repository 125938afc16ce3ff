"""What a demo's folder says after a kill or a power cut: whose it is, what is finished, how long it took."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from rich.console import Console

from pixelreasoner.cli.main import main
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.run_status import locked, running
from pixelreasoner.nano import ablations, demo, pipeline
from pixelreasoner.nano.pipeline import Pipeline

SETTINGS = {"seed": 0, "photos": None}


def test_c7_a_torn_line_of_metrics_is_passed_over(tmp_path: Path):
    (tmp_path / "rl_curiosity").mkdir()
    (tmp_path / "rl_curiosity" / "metrics.jsonl").write_text(
        '{"step": 1, "time": 1.0, "reward": 0.5}\n{"step": 2, "time": 3.5}\n{"step": 3, "ti'
    )
    assert demo._spent(tmp_path) == 2.5


@pytest.mark.parametrize("torn", ["", '{"seed": 0, "pho'])
def test_c7_a_torn_file_of_settings_is_written_anew(tmp_path: Path, torn: str):
    (tmp_path / "demo.json").write_text(torn)
    demo._claim(tmp_path, SETTINGS)
    assert json.loads((tmp_path / "demo.json").read_text()) == SETTINGS
    with pytest.raises(ConfigError, match="other settings"):
        demo._claim(tmp_path, SETTINGS | {"seed": 1})


def test_c9_a_half_written_model_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """From the state beside it: training is told to go on, and finds nothing left but to save."""
    asked = []
    for name in ("train_sft", "train_rl"):
        monkeypatch.setattr(
            pipeline, name, lambda config, *, resume: asked.append(resume) or config.out / "model"
        )
    steps = Pipeline(tmp_path, seed=0, photos=None, console=Console(quiet=True))
    for name, half in (("warm_start", ()), ("rl", ("config.json", "model.safetensors"))):
        (tmp_path / name / "model").mkdir(parents=True)
        for file in half:
            (tmp_path / name / "model" / file).touch()
    steps.warm_start("warm_start", tmp_path / "data.jsonl")
    steps.rl("rl", tmp_path / "start")
    assert asked == [True, True]
    for name in ("warm_start", "rl"):
        for file in ("config.json", "pixelreasoner.json"):
            (tmp_path / name / "model" / file).touch()
    assert steps.warm_start("warm_start", tmp_path) == tmp_path / "warm_start" / "model"
    assert steps.rl("rl", tmp_path) == tmp_path / "rl" / "model"
    assert asked == [True, True]
    with contextlib.suppress(KeyboardInterrupt), running(tmp_path / "rl", "rl", 2):
        raise KeyboardInterrupt  # killed after the checkpoint, before the status
    steps.rl("rl", tmp_path)
    assert asked == [True, True, True]


def test_a_second_demo_and_a_second_table_in_one_folder_are_refused(tmp_path: Path):
    with locked(tmp_path):
        with pytest.raises(ConfigError, match="is working on"):
            demo.run(out=tmp_path, seed=0, photos=None)
        with pytest.raises(ConfigError, match="is working on"):
            ablations.run(out=tmp_path, names=["full"], seeds=[0])
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_the_shipped_evaluation_is_that_of_the_demo(tmp_path: Path):
    """300 held-out tasks of the demo's world, 60 of each kind, greedily."""
    steps = Pipeline(tmp_path, seed=3, photos=None, console=Console(quiet=True))
    config = steps.recipe(pipeline.EvalConfig, "eval", (), out=tmp_path)
    assert (config.n, config.batch_size, config.interaction.sampling.temperature) == (300, 100, 0)
    from pixelreasoner.tasks.config import build_tasks
    from pixelreasoner.tasks.pixelworld import PixelWorld, WorldConfig

    first = list(build_tasks(config.tasks).take(0, 5))
    assert first == list(PixelWorld(WorldConfig(seed=3)).tasks("test", 5))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere", "nowhere cannot be read: No such file or directory"),
        ("plain", "plain cannot be read: Not a directory"),
        ("empty", "no images in"),
    ],
)
def test_photographs_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str], place, words):
    """Case C16: one line, and nothing is written that would keep the folder."""
    (tmp_path / "plain").write_text("")
    (tmp_path / "empty").mkdir()
    assert main(["demo", "--out", str(tmp_path / "out"), "--photos", str(tmp_path / place)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
