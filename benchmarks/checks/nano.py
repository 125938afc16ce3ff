"""The embedded model on the device: what it says and records, and whether a run goes on to the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import torch

from benchmarks.checks.models import score
from benchmarks.checks.outcome import Bound, Check, Checks, Found, Setting
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.state import load_state, save_state
from pixelreasoner.models.config import Dtype, LoraConfig, ModelConfig, TrainableParts
from pixelreasoner.models.loader import load_model
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.scored_group import ScoredGroup
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.group import GroupPolicy
from pixelreasoner.tasks.config import TasksConfig, build_tasks
from pixelreasoner.train.sft import SFTConfig, build

CPU = torch.device("cpu")
TASKS, TINY_TASKS, GROUP = 20, 6, 4
GREEDY, WARM = Sampling(temperature=0.0, max_tokens=64), Sampling(temperature=1.0, max_tokens=64)
ROUNDED = 0.1
"""Largest difference of a log-probability in bf16: a first run on a card gave 0.047."""
SAME = {"fp32": 0.0, "bf16": 0.35}
"""The share of greedy rollouts that may differ: where two tokens are equally likely, rounding decides."""


def checks(setting: Setting) -> Checks:
    found: dict[str, Check] = {}
    for dtype in ("fp32", "bf16"):
        found[f"nano, {dtype}: greedy rollouts are those of the processor"] = partial(greedy, setting, dtype)
        found[f"nano, {dtype}: sampler against trainer"] = partial(sampler, setting, dtype)
    for way, options in {
        "fp32": {"dtype": "fp32"},
        "products in bf16": {"dtype": "fp32", "precision": "bf16"},
        "adapters with dropout": {"dtype": "fp32", "lora": LoraConfig(rank=4, dropout=0.2)},
    }.items():
        found[f"nano, {way}: a saved run goes on to the same bits"] = partial(resumed, setting, options)
    return found


def greedy(setting: Setting, dtype: Dtype) -> Found:
    """Rollouts with operations, token for token."""
    tasks = _tasks(TINY_TASKS if setting.tiny else TASKS)
    exact = _rollouts(_model(CPU, "fp32"), tasks, 1, GREEDY)
    found = _rollouts(_model(setting.device, dtype), tasks, 1, GREEDY)
    same, worst = 0, 0.0
    for ours, theirs in zip(found, exact, strict=True):
        a, b = ([t.sampled for t in y.turns if t.sampled is not None] for y in (ours, theirs))
        same += [x.ids for x in a] == [x.ids for x in b]
        first, wanted = a[0], b[0]
        for i, j, p, q in zip(
            first.ids, wanted.ids, first.logprobs or (), wanted.logprobs or (), strict=False
        ):
            if i != j:
                break
            worst = max(worst, abs(p - q))
    return {
        "share that differ": Bound(1 - same / len(tasks), SAME[dtype]),
        "largest difference of a log-probability": worst,
        "rollouts": len(tasks),
        "operations": sum(len(y.turns) - 1 for y in found),
    }


def sampler(setting: Setting, dtype: Dtype) -> Found:
    """Groups of rollouts with operations: what the sampler recorded against what the trainer computes."""
    model = _model(setting.device, dtype)
    tasks = _tasks(3 if setting.tiny else 8)
    rollouts = _rollouts(model, tasks, GROUP, WARM)
    differences: list[float] = []
    for start in range(0, len(rollouts), GROUP):
        part = tuple(rollouts[start : start + GROUP])
        scored, recorded = score(model, ScoredGroup(part, {}, (1.0,) * len(part), (1.0,) * len(part)))
        differences += abs(scored - recorded).tolist()
    return {
        "largest difference": Bound(max(differences), ROUNDED if dtype == "bf16" else 2e-4),
        "mean difference": sum(differences) / len(differences),
        "tokens": len(differences),
    }


def resumed(setting: Setting, options: dict[str, Any]) -> Found:
    """Two steps of a warm start, saved; two more; and the same two after the state was read again."""
    config = _warm_start(setting, options)
    torch.manual_seed(0)
    if setting.on_card:
        torch.cuda.manual_seed_all(0)
    first = build(config)
    for _ in range(2):
        first.train_step()
    save_state(setting.folder / "state.pt", first.state_dict())
    second = build(config)
    second.load_state_dict(_state(setting))
    metrics = [[run.train_step() for _ in range(2)] for run in (second,)]
    # The first run last: what it draws from the generators is then no longer that of the second.
    first.load_state_dict(_state(setting))
    metrics.append([first.train_step() for _ in range(2)])
    apart = [
        float((a - b).abs().max())
        for (_, a), (_, b) in zip(first.learner.weights(), second.learner.weights(), strict=True)
    ]
    return {
        "weights apart": Bound(max(apart), 0.0 if not setting.on_card else 1e-4),
        "bit for bit": max(apart) == 0.0,
        "loss": [[m["loss"] for m in run] for run in metrics],
    }


def _state(setting: Setting) -> dict[str, Any]:
    state = load_state(setting.folder / "state.pt")
    assert state is not None
    return state


def _warm_start(setting: Setting, options: dict[str, Any]) -> SFTConfig:
    data = setting.folder / "answers.jsonl"
    if not data.exists():
        write_trajectories(data, _rollouts(_model(CPU, "fp32"), _tasks(8), 1, WARM))
    model = ModelConfig(device=str(setting.device), train=TrainableParts(vision=False), **options)
    return SFTConfig(
        out=setting.folder / "sft", data=data, model=model, steps=4, batch_size=4,
        optim=OptimConfig(lr=1e-4),
    )  # fmt: skip


def _model(device: torch.device, dtype: Dtype) -> VisionLanguageModel:
    return load_model(ModelConfig(device=str(device), dtype=dtype), training=False)


@lru_cache
def _tasks(n: int) -> tuple[Task, ...]:
    return tuple(build_tasks(TasksConfig(split="test")).take(0, n))


def _rollouts(
    model: VisionLanguageModel, tasks: Sequence[Task], group: int, sampling: Sampling
) -> list[Trajectory]:
    renderer = model.renderer
    return rollout(
        [RolloutRequest(task, 100 * i + k) for i, task in enumerate(tasks) for k in range(group)],
        policy=GroupPolicy(model),
        renderer=renderer,
        toolbox=Interaction().toolbox(renderer.vision.unit, renderer.chat_format),
        sampling=sampling,
        limits=Limits(max_operations=3),
    )
