"""One update on the device by each optimiser, with adapters, and with recomputation."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from benchmarks.cases import random_group
from benchmarks.checks.models import CASE, checkpoint
from benchmarks.checks.outcome import Bound, Checks, Found, Setting, gap
from benchmarks.methods.base import OBJECTIVE
from pixelreasoner.learn.learner import LearnerConfig
from pixelreasoner.learn.local import LocalLearner
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.models.config import LoraConfig, ModelConfig
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.loader import load_model

FULL: dict[str, Any] = {"dtype": "fp32", "precision": "bf16"}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "adamw, fp32": ("adamw", {"dtype": "fp32"}),
    "adamw, products in bf16": ("adamw", FULL),
    "adamw_bf16, rounded stochastically": ("adamw_bf16", {"dtype": "bf16"}),
    "adamw_8bit": ("adamw_8bit", {"dtype": "bf16"}),
    "adamw, adapters beside bf16": ("adamw", {"dtype": "bf16", "lora": LoraConfig(rank=4)}),
    "adamw, recomputation": ("adamw", FULL | {"gradient_checkpointing": True}),
    "adamw, adapters and recomputation": (
        "adamw", {"dtype": "bf16", "lora": LoraConfig(rank=4), "gradient_checkpointing": True},
    ),
}  # fmt: skip
"""By name: `optim.kind`, and what the model is told."""
RATE = 1e-2
"""Of a step that moves weights in bf16."""


def checks(setting: Setting) -> Checks:
    found = {
        f"{name}: {way}": partial(updates, setting, name, *WAYS[way])
        for name in ("tiny-qwen2.5", "tiny-qwen3.5")
        for way in WAYS
    }
    return {**found, "recomputation leaves the gradients": partial(recomputed, setting, "tiny-qwen3")}


def updates(setting: Setting, name: str, kind: str, options: dict[str, Any]) -> Found:
    """Two updates; what learns has moved, what does not has not, and all is finite."""
    config = ModelConfig(checkpoint=str(checkpoint(setting, name)), device=str(setting.device), **options)
    model = load_model(config, training=True)
    learner = LocalLearner(
        model,
        OBJECTIVE,
        LearnerConfig(optim=OptimConfig(kind=kind, lr=RATE, warmup=0.0), total_updates=2),
        features=FeatureStore(model),
        precision=config.precision,
    )
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    metrics = [learner.update([random_group(CASE, model.renderer, seed=s)]) for s in range(2)]
    moved = {k for k, p in model.named_parameters() if not torch.equal(p, before[k])}
    learns = {k for k, p in model.named_parameters() if p.requires_grad}
    finite = all(bool(p.isfinite().all()) for p in model.parameters())
    assert finite, "a weight is not finite"
    assert moved <= learns, f"moved without learning: {sorted(moved - learns)[:3]}"
    return {
        "share that did not move": Bound(1.0 - len(moved) / len(learns), 0.2),
        "loss": [m["loss"] for m in metrics],
        "grad_norm": [Bound(m["grad_norm"], float("inf")).value for m in metrics],
    }


def recomputed(setting: Setting, name: str) -> Found:
    """The gradients of a group with and without gradient checkpointing."""
    from benchmarks.checks.models import on_device
    from benchmarks.methods.base import Settings
    from benchmarks.methods.ours import Shared

    model = on_device(setting, checkpoint(setting, name), torch.float32)
    group = random_group(CASE, model.renderer)
    found = []
    for recompute in (False, True):
        method = Shared(model, group, Settings(recompute=recompute))
        method.run()
        found.append(torch.cat([g.flatten() for g in method.gradients().values()]).cpu())
    return {"gradients": Bound(gap(found[1], found[0]), 1e-5)}
