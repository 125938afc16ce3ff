"""A short RL run of a model of a few thousand weights, and what its folder holds."""

import json
from pathlib import Path

import torch

from pixelreasoner.core.task import Task
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.scored_group import score_group
from pixelreasoner.tasks.config import build_tasks
from pixelreasoner.train.rl import ReplayConfig, RLConfig, RLTrainer


def config(out: Path, checkpoint: Path, *, train: dict[str, bool] | None = None, **changes) -> RLConfig:
    settings = {
        "out": out, "steps": 4, "tasks_per_step": 3, "group_size": 4,
        "model": {"checkpoint": str(checkpoint), "device": "cpu", "precision": "fp32", "train": train or {}},
        "tasks": {"options": {"kinds": ["attribute", "clip"]}}, "replay": ReplayConfig(episode_steps=3),
        "interaction": {"sampling": {"max_tokens": 6}, "limits": {"max_operations": 1}},
        "optim": OptimConfig(lr=1e-3), "updates_per_step": 2,
    }  # fmt: skip
    return RLConfig.model_validate(settings | changes)


def tasks_of(run: RLConfig, n: int) -> list[Task]:
    return list(build_tasks(run.tasks).take(0, n))


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    return VisionLanguageModel.load(run_folder / "model").hf.state_dict()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rows_of(run_folder: Path) -> list[dict]:
    return [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]


def first_token_rewards(self: RLTrainer, groups):
    """Rewards that differ within a group, so that a random model has something to learn from."""
    rewards = [[float(y.n_sampled_tokens and y.turns[0].sampled.ids[0] % 5) for y in g] for g in groups]
    return [
        score_group(g, {"correctness": r}, scale="std", scores=r)
        for g, r in zip(groups, rewards, strict=True)
    ]


def differing(group, scores):
    """A term of the reward that gives rollouts of random tokens different values."""
    return [sum(turn.sampled.ids[0] for turn in y.turns) % 7 for y in group]
