"""What the model's section of a recipe says reaches training: LoRA, bf16, gradient checkpointing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pixelreasoner.core.media import DECODED
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.models.loader import load_model
from pixelreasoner.objectives.scored_group import score_group
from pixelreasoner.policy.group import GroupPolicy
from pixelreasoner.train import rl
from pixelreasoner.train.rl import ReplayConfig, RLConfig, RLTrainer

LORA = {"rank": 2, "alpha": 4.0, "vision": True}


@pytest.fixture(autouse=True)
def rewards(monkeypatch):
    """That differ within a group, so that a random model has something to learn from."""

    def score(self, groups):
        values = [[float(y.n_sampled_tokens and y.turns[0].sampled.ids[0] % 5) for y in g] for g in groups]
        return [
            score_group(g, {"correctness": r}, scale="std", scores=r)
            for g, r in zip(groups, values, strict=True)
        ]

    monkeypatch.setattr(RLTrainer, "score", score)


def recipe(out: Path, checkpoint: Path, steps: int = 2, **model: object) -> RLConfig:
    settings = {
        "out": out, "steps": steps, "tasks_per_step": 2, "group_size": 4, "updates_per_step": 1,
        "model": {"checkpoint": str(checkpoint), "device": "cpu", **model},
        "tasks": {"options": {"kinds": ["attribute"]}}, "replay": ReplayConfig(episode_steps=3),
        "interaction": {"sampling": {"max_tokens": 6}, "limits": {"max_operations": 1}},
        "optim": OptimConfig(lr=1e-2),
    }  # fmt: skip
    return RLConfig.model_validate(settings)


def weights(checkpoint: Path | str, **model: object) -> dict[str, torch.Tensor]:
    config = ModelConfig.model_validate({"checkpoint": str(checkpoint), "device": "cpu", **model})
    return load_model(config, training=False).hf.state_dict()


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("recomputed", [False, True])
def test_lora_gives_a_plain_checkpoint_in_which_linear_layers_moved(qwen3_folder, tmp_path, recomputed):
    out = rl.run(recipe(tmp_path / "run", qwen3_folder, lora=LORA, gradient_checkpointing=recomputed))
    names = moved(weights(qwen3_folder), weights(out))
    assert any("visual" in name for name in names)
    assert any("q_proj" in name for name in names)
    assert not any("norm" in name or "embed" in name or "lm_head" in name for name in names)


def test_adapters_alone_are_trained_on(qwen3_folder, tmp_path):
    """Each run of one step: the second starts where the first ended, and needs the base checkpoint only."""
    alone = {**LORA, "merge_on_save": False}
    first = rl.run(recipe(tmp_path / "first", qwen3_folder, 1, lora=alone))
    assert not list(first.glob("*.safetensors"))
    second = rl.run(recipe(tmp_path / "second", first, 1, lora=alone))
    start, one, two = weights(qwen3_folder), weights(first), weights(second)
    assert moved(start, one)
    assert moved(one, two)
    assert moved(start, one) <= moved(start, two)


def test_a_resumed_run_with_lora_equals_an_uninterrupted_one_to_the_bit(qwen3_folder, tmp_path, monkeypatch):
    whole = rl.run(recipe(tmp_path / "whole", qwen3_folder, lora=LORA))
    stopped = recipe(tmp_path / "parts", qwen3_folder, lora=LORA).model_copy(update={"save_every": 1})
    real = RLTrainer.train_step

    def killed_in_the_second(self, tasks):
        if self.step == 1:
            raise KeyboardInterrupt
        return real(self, tasks)

    monkeypatch.setattr(RLTrainer, "train_step", killed_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        rl.run(stopped)
    monkeypatch.setattr(RLTrainer, "train_step", real)
    resumed = rl.run(stopped, resume=True)
    assert moved(weights(whole), weights(resumed)) == set()
    assert moved(weights(qwen3_folder), weights(resumed))


def test_bf16_with_gradient_checkpointing(qwen3_folder, tmp_path):
    run = recipe(tmp_path / "run", qwen3_folder, dtype="bf16", gradient_checkpointing=True)
    out = rl.run(run.changed(optim=run.optim.changed(kind="adamw_bf16")))
    found = weights(out, dtype="bf16")
    assert {w.dtype for w in found.values()} == {torch.bfloat16}
    assert moved(weights(qwen3_folder, dtype="bf16"), found)


def test_the_budgets_of_memory_reach_what_they_bound(tmp_path, qwen3_folder):
    before = DECODED.max_bytes
    try:
        trainer = rl.build(
            recipe(
                tmp_path / "run", qwen3_folder,
                feature_bytes=1000, kv_cache_bytes=2000, picture_bytes=3000,
            )
        )  # fmt: skip
        assert isinstance(trainer.policy, GroupPolicy)
        assert trainer.policy.features._max_bytes == 1000
        assert trainer.policy.kv_cache_bytes == 2000
        assert DECODED.max_bytes == 3000
    finally:
        DECODED.resize(before)
