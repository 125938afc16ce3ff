"""Every shipped recipe runs for two steps, in the order a user would run them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chat_server import serving
from benchmarks.teacher_script import TeacherScript
from pixelreasoner.chat.families import FAMILIES
from pixelreasoner.cli.main import main
from pixelreasoner.core.recipe import find_recipe, load_recipe, recipe_names, save_resolved
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.evals.run import EvalConfig
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.train.rl import RLConfig
from pixelreasoner.train.sft import SFTConfig
from synth.served_runs import make_seeds
from tasks.datasets.conftest import put, write_json
from tasks.datasets.test_pixelreasoner_rl import ROWS
from tasks.datasets.test_pixelreasoner_sft import RECROP
from tasks.datasets.test_pixelreasoner_sft import row as text_row

SMALL = {
    "nano/pretrain": ["n_scenes=12", "n_layouts=4", "vision.steps=1", "vision.batch_size=4", "workers=1",
                      "language.steps=2", "language.batch_size=2", "language.joint_steps=1"],
    "nano/synth": ["n=12", "workers=1"],
    "nano/sft": ["steps=2", "batch_size=4"],
    "nano/rl": ["steps=2", "tasks_per_step=2", "group_size=4"],
    "nano/eval": ["n=5"],
}  # fmt: skip


def run(name: str, out: Path, *changes: str) -> list[dict]:
    """Run a recipe through the command line; the lines of its metrics, if it writes any."""
    command = name.rpartition("/")[2]
    assert main([command, name, *SMALL[name], *changes, "--out", str(out)]) == 0
    metrics = out / "metrics.jsonl"
    return [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []


MODELS = {
    "qwen2_5_vl_7b": "qwen2_5_vl", "qwen2_5_vl_3b_lora_1gpu": "qwen2_5_vl",
    "qwen3_vl_4b_1gpu": "qwen3_vl", "qwen3_vl_8b": "qwen3_vl",
    "qwen3_5_4b_1gpu": "qwen3_5", "qwen3_5_9b": "qwen3_5",
}  # fmt: skip
"""The family of each set of recipes for a checkpoint of the hub."""
FIRST = ("qwen2_5_vl_3b_lora_1gpu", "qwen3_vl_8b", "qwen3_5_4b_1gpu")
"""One of each family, adapters and full tuning among them."""
RUN = [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
PIXELS = [
    f"interaction.wording.{of}={{min_pixels=256, max_pixels=1024}}" for of in ("image", "crop", "video_frame")
]
TINY = {"qwen2_5_vl": "qwen25_folder", "qwen3_vl": "qwen3_folder", "qwen3_5": "qwen35_folder"}
"""The fixture that gives a tiny checkpoint of a family."""
CONFIGS = {"sft": SFTConfig, "rl": RLConfig, "eval": EvalConfig}


def test_every_shipped_recipe_is_run_here():
    of_models = {f"{name}/{stage}" for name in MODELS for stage in CONFIGS}
    assert set(recipe_names()) == set(SMALL) | of_models | {"qwen2_5_vl_7b/synth"}


@pytest.mark.parametrize("name", MODELS)
def test_the_stages_of_a_model_fit_together(name: str):
    """One reads what the one before writes, and the model is shown what it was trained with."""
    sft, rl, evaluation = (
        load_recipe(config, find_recipe(Path(name, stage))) for stage, config in CONFIGS.items()
    )
    assert rl.model.checkpoint == f"{sft.out}/model"
    assert evaluation.model.checkpoint == f"{rl.out}/model"
    assert sft.interaction.wording == rl.interaction.wording
    assert family_name(sft.model.checkpoint) == MODELS[name]
    if name != "qwen2_5_vl_7b":  # the paper's evaluation shows more
        assert evaluation.interaction.wording == rl.interaction.wording
    assert {source.options.get("path") for source in (rl.tasks, evaluation.tasks)} == {None}


def family_name(checkpoint: str) -> str:
    """Of a checkpoint of the hub, by its name."""
    (found,) = (family for prefix, family in FAMILY_OF.items() if checkpoint.startswith(prefix))
    return found


FAMILY_OF = {"Qwen/Qwen2.5-VL-": "qwen2_5_vl", "Qwen/Qwen3-VL-": "qwen3_vl", "Qwen/Qwen3.5-": "qwen3_5"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The three data sets of these recipes, a few rows each, in their own schema."""
    put(tmp_path, *(f"{name}/images/{x}.png" for name in ("sft", "rl") for x in "ab"), "eval/images/a.png")
    write_json(tmp_path / "sft" / "release.json", [RECROP, text_row("t", "I see it. \\boxed{B}")])
    write_json(tmp_path / "rl" / "release.json", ROWS[:2])
    question = {"questionId": 1, "question": "Share?", "image_local_name": "a.png", "answers": ["45%"]}
    write_json(tmp_path / "eval" / "infographicsVQA_val_v1.0.json", [question], dataset_name="infographicVQA")
    return tmp_path


@pytest.mark.parametrize("name", RUN)
def test_the_recipes_of_a_model_run_on_a_tiny_one(name: str, data: Path, request: pytest.FixtureRequest):
    """Two steps of each stage; besides the data and the model, counts alone differ from the recipe.

    Pixels are among the counts: a token of the tiny model is 8 pixels wide, in place of 28 or 32. What random
    weights answer is never right, so that one term of the reward makes rollouts differ.
    """
    if MODELS[name] not in FAMILIES:
        pytest.skip(f"the family {MODELS[name]} is not there")
    tiny, out = request.getfixturevalue(TINY[MODELS[name]]), data / "runs"
    trajectories = str(out / "data" / "trajectories.jsonl")
    changes = [*PIXELS, f"model.checkpoint={tiny}", f"data={trajectories}"]
    recipe = save_resolved(load_recipe(SFTConfig, find_recipe(Path(name, "sft")), changes), data / "recipe")
    assert main(["convert", str(data / "sft"), "--recipe", str(recipe)]) == 0
    rows = stage(name, "sft", out, model=tiny, data=trajectories, steps=2, batch_size=2)
    assert [row["loss"] > 0 for row in rows] == [True, True]
    short = {
        "interaction.sampling.max_tokens": 8, "interaction.limits.max_turns": 2,
        "interaction.limits.max_tokens": 4096,
    }  # fmt: skip
    counts = {"steps": 2, "tasks_per_step": 2, "updates_per_step": 1, "rollout_batch": 16}
    differing = {"rewards.test.use": "rl_helpers:differing"}
    rows = stage(
        name, "rl", out, model=out / "sft" / "model", tasks=data / "rl", **counts, **short, **differing
    )
    assert [row["grad_norm"] > 0 for row in rows] == [True, True]
    stage(name, "eval", out, model=out / "rl" / "model", tasks=data / "eval", batch_size=2, **short)
    assert json.loads((out / "eval" / "summary.json").read_text())["n"] == 1


def stage(
    name: str, command: str, out: Path, *, model: Path, tasks: Path | None = None, **changes: Any
) -> list[dict]:
    """Run a stage through the command line; the lines of its metrics, if it writes any."""
    changes["model.checkpoint"] = model
    if tasks is not None:
        changes["tasks.options.path"] = tasks
    given = [f"{key}={value}" for key, value in changes.items()] + PIXELS
    assert main([command, f"{name}/{command}", *given, "--out", str(out / command)]) == 0
    metrics = out / command / "metrics.jsonl"
    return [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []


def test_the_synthesis_of_the_paper_runs_on_a_tiny_model(
    tmp_path: Path, qwen25_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its seeds, its servers and its numbers of them are others; it teaches what `sft` is shown."""
    for extra in ("openai", "pyarrow", "rapidocr"):
        pytest.importorskip(extra)
    recipe = load_recipe(SynthConfig, find_recipe(Path("qwen2_5_vl_7b", "synth")))
    sft = load_recipe(SFTConfig, find_recipe(Path("qwen2_5_vl_7b", "sft")))
    assert recipe.checkpoint == sft.model.checkpoint
    assert recipe.interaction.wording == sft.interaction.wording
    answers = make_seeds(tmp_path / "data", 24)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEACHER_KEY", "a key")
    with serving(TeacherScript(known=answers)) as server:
        urls = [f"{of}.server.url={server.url}" for of in ("chat_teacher", "student", "judge")]
        given = [f"checkpoint={qwen25_folder}", "n=15", *urls]
        assert main(["synth", "qwen2_5_vl_7b/synth", *given, "--out", "out"]) == 0
    summary = json.loads(Path("out", "summary.json").read_text())
    assert (summary["made"], summary["unfilled"]) == (15, 0)
    assert summary["by_template"]["text_only"] == 4
    assert {row.task.split for row in read_trajectories(Path("out", "trajectories.jsonl"))} == {"train"}


def test_the_stages_follow_one_another(tmp_path: Path):
    run("nano/synth", tmp_path / "synth")
    rows = run("nano/sft", tmp_path / "sft", f'data="{tmp_path}/synth/trajectories.jsonl"')
    assert len(rows) == 2
    assert rows[0]["loss"] > 0
    rows = run("nano/rl", tmp_path / "rl", f'model.checkpoint="{tmp_path}/sft/model"')
    assert len(rows) == 2
    wanted = {
        "reward", "accuracy", "rapr", "operations", "invalid_operations", "turns", "sampled_tokens",
        "zero_advantage_groups", "seconds_rollout", "seconds_update",
    }  # fmt: skip
    assert wanted <= set(rows[0])
    run("nano/eval", tmp_path / "eval", f'model.checkpoint="{tmp_path}/rl/model"')
    summary = json.loads((tmp_path / "eval" / "summary.json").read_text())
    assert summary["n"] == 5


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_base_is_made_from_nothing(tmp_path: Path):
    rows = run("nano/pretrain", tmp_path / "base")
    assert len(rows) == 3  # one step of the vision stage, two of the language stage
    model = VisionLanguageModel.load(tmp_path / "base" / "model")
    assert sum(p.numel() for p in model.parameters()) < 5_000_000
    weights = tmp_path / "base" / "model" / "model.safetensors"
    assert weights.stat().st_size < 10_000_000
