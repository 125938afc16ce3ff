"""Every shipped recipe runs for two steps, in the order a user would run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.recipe import shipped_recipes
from pixelreasoner.models.vlm import VisionLanguageModel

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


def test_every_shipped_recipe_is_run_here():
    root = shipped_recipes()
    assert {str(p.relative_to(root).with_suffix("")) for p in root.rglob("*.toml")} == set(SMALL)


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
