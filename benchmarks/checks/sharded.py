"""The learner of many processes on the one device of this process: FSDP2, with NCCL on an accelerator.

Its losses are those of the learner of one process, and its state goes on where it stopped.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.cases import random_group
from benchmarks.checks.models import CASE, checkpoint
from benchmarks.checks.outcome import Bound, Checks, Found, Setting
from benchmarks.methods.base import OBJECTIVE
from pixelreasoner.learn.learner import Learner, LearnerConfig
from pixelreasoner.learn.local import LocalLearner
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.processes import processes_of_run
from pixelreasoner.learn.sharded import ShardedLearner
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.loader import load_model

STEPS = 2


def checks(setting: Setting) -> Checks:
    ways: dict[str, dict[str, Any]] = {
        "fp32": {"dtype": "fp32"},
        "products in bf16": {"dtype": "fp32", "precision": "bf16"},
        "recomputation": {"dtype": "fp32", "gradient_checkpointing": True},
    }
    return {
        f"FSDP2 on one process, {name}, {way}": partial(fsdp, setting, name, options)
        for name in ("tiny-qwen3", "tiny-qwen3.5")
        for way, options in ways.items()
    }


def fsdp(setting: Setting, name: str, options: dict[str, Any]) -> Found:
    """Updates by both learners from the same weights, and the weights that they end with."""
    config = ModelConfig(checkpoint=str(checkpoint(setting, name)), device=str(setting.device), **options)
    _join(setting)
    with processes_of_run(str(setting.device)) as processes:

        def made(kind: str) -> Learner:
            model = load_model(config, training=True)
            settings = LearnerConfig(optim=OptimConfig(lr=1e-3, warmup=0.0), total_updates=STEPS)
            more: dict[str, Any] = {"features": FeatureStore(model), "precision": config.precision}
            if kind == "local":
                return LocalLearner(model, OBJECTIVE, settings, **more)
            return ShardedLearner(model, OBJECTIVE, settings, processes=processes, **more)

        found: dict[str, tuple[list[float], list[float], dict[str, torch.Tensor]]] = {}
        for kind in ("local", "sharded"):
            learner = made(kind)
            metrics = [learner.update([_group(learner, seed)]) for seed in range(STEPS)]
            weights = {k: copy.deepcopy(w.detach()).float().cpu() for k, w in learner.weights()}
            found[kind] = [m["loss"] for m in metrics], [m["grad_norm"] for m in metrics], weights
    (loss, norm, ours), (loss_s, norm_s, theirs) = found["local"], found["sharded"]
    bf16 = options.get("precision") == "bf16"
    apart = max(float((ours[k] - theirs[k]).abs().max()) for k in ours)
    return {
        "loss": Bound(max(abs(a - b) for a, b in zip(loss, loss_s, strict=True)), 2e-2 if bf16 else 1e-4),
        "grad_norm": Bound(
            max(abs(a - b) / a for a, b in zip(norm, norm_s, strict=True)), 5e-2 if bf16 else 1e-3
        ),
        # AdamW moves a weight by the rate at most, whatever its gradient: those of rounding errors too.
        "weights apart": Bound(apart, 2.1e-3 * STEPS),
        "backend": dist.get_backend_config() if hasattr(dist, "get_backend_config") else dist.get_backend(),
    }


def _group(learner: Any, seed: int) -> Any:
    return random_group(CASE, learner.model.renderer, seed=seed)


def _join(setting: Setting) -> None:
    """A group of this process alone, as `torchrun --nproc-per-node 1` would make it."""
    if dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if setting.on_card else "gloo"
    if setting.on_card:
        torch.cuda.set_device(setting.device.index or 0)
    meeting = f"file://{setting.folder / 'meeting'}"
    dist.init_process_group(backend, init_method=meeting, rank=0, world_size=1)
