"""Whole models of each family, tiny, on the device: against transformers' own in float64 on the processor."""

from __future__ import annotations

import itertools
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.cases import Case, random_group
from benchmarks.checks.outcome import Bound, Checks, Found, Setting, gap, short
from benchmarks.methods.base import Settings
from benchmarks.methods.ours import Padded, Shared
from benchmarks.methods.rollouts import Ours
from benchmarks.methods.stock import Stock
from benchmarks.methods.trl_trainer import dealt_rewards
from benchmarks.rollout import scripted
from benchmarks.shapes import stock_model, write_checkpoint
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment, StopReason, Trajectory, Turn
from pixelreasoner.learn.scoring import Scoring
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.loader import load_model
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.grpo import GrpoConfig, GrpoObjective
from pixelreasoner.objectives.loss_mask import prompt_of
from pixelreasoner.objectives.packing import pack_rows
from pixelreasoner.objectives.scored_group import ScoredGroup, score_group
from pixelreasoner.policy.base import CompletionRequest, Sampling, complete
from pixelreasoner.policy.group import GroupPolicy

FAMILIES = ("tiny-qwen2.5", "tiny-qwen3", "tiny-qwen3.5")
CASE = Case(80, 60, 9, crops=1, group=4, image=0.6)
LOGP = {torch.float32: 2e-4, torch.bfloat16: 0.1}
"""The largest difference of a log-probability."""
GRADIENTS = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Of the norm of all gradients together."""
WITH_CROPS = Case(80, 100, 12, crops=1, group=4, spread=0.0, image=0.6, tasks=2)
SCRIPTED = {torch.float32: 1e-3, torch.bfloat16: 0.3}
"""The largest difference there: the script's scores are large, and so are their rounding errors."""
NOISE = 0.05
SAMPLED = 24
"""Tokens of a message."""


def checks(setting: Setting) -> Checks:
    dtypes = setting.dtypes(torch.bfloat16)
    return {
        **{
            f"{name}, {short(dtype)}: training": partial(training, setting, name, dtype)
            for name, dtype in itertools.product(FAMILIES, dtypes)
        },
        **{
            f"{name}, {short(dtype)}: sampler against trainer": partial(sampling, setting, name, dtype)
            for name, dtype in itertools.product(FAMILIES, dtypes)
        },
        **{
            f"{name}, {short(dtype)}: groups with crops, sampler against trainer": partial(
                with_crops, setting, name, dtype
            )
            for name, dtype in itertools.product(FAMILIES, dtypes)
        },
    }


def training(setting: Setting, name: str, dtype: torch.dtype) -> Found:
    """Log-probabilities and gradients of a group: rows that share their prompt, and padded ones."""
    folder = checkpoint(setting, name)
    exact_logp, exact = _exact(folder)
    model = on_device(setting, folder, dtype)
    group = random_group(CASE, model.renderer)
    found: dict[str, object] = {}
    for way, kind in (("shared", Shared), ("padded", Padded)):
        method = kind(model, group, Settings())
        logp_N = method.run().double().cpu()
        found[f"{way} logp"] = Bound(float((logp_N - exact_logp).abs().max()), LOGP[dtype])
        ours = method.gradients()
        assert ours.keys() >= exact.keys(), f"no gradient of {sorted(exact.keys() - ours.keys())}"
        everything = [torch.cat([g[k].double().cpu().flatten() for k in exact]) for g in (ours, exact)]
        found[f"{way} gradients"] = Bound(gap(*everything), GRADIENTS[dtype])
    return found


def sampling(setting: Setting, name: str, dtype: torch.dtype) -> Found:
    """What the sampler recorded of a group, and what the trainer makes of it with the same weights."""
    model = on_device(setting, checkpoint(setting, name), dtype)
    prompt = prompt_of(random_group(CASE, model.renderer).trajectories[0])
    return sampler_against_trainer(model, [prompt] * 4, most=LOGP[dtype])


def with_crops(setting: Setting, name: str, dtype: torch.dtype) -> Found:
    """Rollouts whose every message calls an operation: its result is read after the keys that are held."""
    made, groups = scripted(name, WITH_CROPS)
    with torch.no_grad():
        # The script's scores leave no room for what the layers add: these do.
        head = made.hf.lm_head.weight
        head += NOISE * torch.randn(head.shape, generator=torch.Generator().manual_seed(0))
    model = made.to(device=setting.device, dtype=dtype)
    rollouts = tuple(Ours(model, groups, GroupPolicy).roll_out())
    scored, recorded = score(model, score_group(rollouts, {"reward": dealt_rewards(rollouts)}, scale="std"))
    difference = np.abs(scored - recorded)
    operations = sum(turn.observed is not None for y in rollouts for turn in y.turns)
    assert operations >= len(rollouts), f"{operations} operations in {len(rollouts)} rollouts"
    return {
        "largest difference": Bound(float(difference.max()), SCRIPTED[dtype]),
        "mean difference": float(difference.mean()),
        "tokens": len(difference),
        "operations": operations,
    }


def sampler_against_trainer(model: VisionLanguageModel, prompts: list[Segment], *, most: float) -> Found:
    """Sample a message after each prompt (equal ones are a group), then score them in one row."""
    requests = [
        CompletionRequest((prompt,), seed, Sampling(max_tokens=SAMPLED))
        for seed, prompt in enumerate(prompts)
    ]
    completions = complete(GroupPolicy(model), requests)
    trajectories = tuple(
        Trajectory(
            Task("t", "", (), ()),
            (Turn("", sampled=Segment(c.ids, logprobs=c.logprobs)),),
            StopReason.ANSWER,
            prompt=prompt,
        )
        for c, prompt in zip(completions, prompts, strict=True)
    )
    group = ScoredGroup(trajectories, {}, (1.0,) * len(prompts), (1.0,) * len(prompts))
    scored, recorded = score(model, group)
    difference = np.abs(scored - recorded)
    return {
        "largest difference": Bound(float(difference.max()), most),
        "mean difference": float(difference.mean()),
        "tokens": len(difference),
    }


@torch.no_grad()
def score(model: VisionLanguageModel, group: ScoredGroup) -> tuple[np.ndarray, np.ndarray]:
    """log p of the loss tokens by the trainer, and by who sampled them."""
    objective = GrpoObjective(GrpoConfig(), temperature=1.0)
    scoring = Scoring(model, FeatureStore(model), objective, precision="fp32")
    model.eval()
    rows = pack_rows(
        [group],
        lambda y: model.renderer.layout(y.segments),
        max_tokens=2**20,
        token_weights=objective.token_weights,
        behavior=True,
    )
    found = [(scoring(row)[0].float().cpu().numpy(), row.behavior_logp_N) for row in rows]
    scored, recorded = (np.concatenate(x) for x in zip(*found, strict=True))
    return scored, recorded


def on_device(setting: Setting, folder: Path, dtype: torch.dtype) -> VisionLanguageModel:
    config = ModelConfig(
        checkpoint=str(folder), device=str(setting.device), dtype="fp32" if dtype == torch.float32 else "bf16"
    )
    return load_model(config, training=True)


def checkpoint(setting: Setting, name: str) -> Path:
    """A tiny one of that family; the same each time."""
    folder = setting.folder / name
    return folder if folder.exists() else write_checkpoint(name, folder)


@lru_cache
def _exact(folder: Path) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probabilities and gradients, one trajectory at a time."""
    exact = stock_model(folder, dtype=torch.float64)
    renderer = VisionLanguageModel.load(folder).renderer
    method = Stock(exact, renderer, random_group(CASE, renderer), Settings(rows=1))
    return method.run(), method.gradients()
