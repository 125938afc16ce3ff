"""Warm-start instruction tuning on synthesised trajectories (paper section 4.1)."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from pixelreasoner.chat.encode import encode_trajectory
from pixelreasoner.chat.layout import Layout
from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.config import Precision, TrainableParts
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.loader import set_trainable
from pixelreasoner.models.precision import autocast
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.samples import TrainSample, sft_sample
from pixelreasoner.objectives.sft import batch_tokens, sft_loss
from pixelreasoner.train.batches import micro_batches, score_samples
from pixelreasoner.train.optim import OptimConfig, adamw, optimizer_step
from pixelreasoner.train.progress import Interruptible, RunLog
from pixelreasoner.train.state import open_run, save_state

SMOOTHED = 10
"""Steps over which the loss is averaged before it is compared with `SFTConfig.stop_below`."""


class SFTConfig(Config):
    """The defaults of batch, rate and warm-up are the paper's (App. C.3)."""

    out: Path
    """The folder of the run; the tuned checkpoint is written to `out/model`."""
    checkpoint: str = "nano"
    """The model to start from: a folder, or a shipped checkpoint's name."""
    data: Path
    """Trajectories (JSONL) written by `synth` or by a rollout."""
    steps: int | None = None
    """Optimiser steps; None takes `epochs` passes over the data."""
    epochs: float = 1.0
    stop_below: float | None = None
    """Stop before that, as soon as the mean loss of the last `SMOOTHED` steps is below this. How many steps
    it takes to become clumsy with operations and no more differs from seed to seed; the loss tells."""
    batch_size: int = 128
    """Trajectories per optimiser step."""
    micro_batch_tokens: int = 16_384
    """Padded tokens in memory at one time."""
    freeze_vision: bool = True
    precision: Precision = "bf16"
    optim: OptimConfig = OptimConfig(lr=1e-6, warmup=0.1)
    seed: int = 0
    save_every: int = Field(default=100, ge=1)
    """Steps between saved states."""


def run(config: SFTConfig, *, resume: bool = False) -> Path:
    """Tune, and return the folder of the tuned checkpoint.

    Raises:
        ConfigError: the folder holds another run.
        RecordError: the data are empty or unreadable.
    """
    state = open_run(config.out, config, resume=resume)
    model = VisionLanguageModel.load(checkpoint_folder(config.checkpoint))
    samples, layouts = load_samples(config.data, model)
    steps = config.steps or max(1, round(config.epochs * len(samples) / config.batch_size))
    trainer = SFTTrainer(model, config, steps)
    if state is not None:
        trainer.load_state_dict(state)
    with (
        Interruptible() as interrupt,
        RunLog(config.out, steps, "sft", resume_at=trainer.step, show=("loss", "grad_norm")) as log,
    ):
        while not trainer.done:
            began = time.perf_counter()
            index = trainer.draw(len(samples))
            metrics = trainer.update([samples[i] for i in index], [layouts[i] for i in index])
            log.step(trainer.step, metrics | {"seconds": time.perf_counter() - began})
            if trainer.step % config.save_every == 0 or interrupt.requested:
                save_state(config.out, trainer.state_dict())
            if interrupt.requested:
                break
        if trainer.done and trainer.step < steps:
            log.note(f"the loss is below {config.stop_below} after {trainer.step} of {steps} steps: done")
    save_state(config.out, trainer.state_dict())
    save_checkpoint(model, config.out / "model")
    return config.out / "model"


def load_samples(data: Path, model: VisionLanguageModel) -> tuple[list[TrainSample], list[Layout]]:
    """The trajectories of a file in the model's own tokens, laid out.

    The samples come without their segments: a layout holds the pictures at the size the model sees them,
    and the originals of a whole file would fill the memory.

    Raises:
        RecordError: there is none.
    """
    renderer = model.renderer
    toolbox = Interaction().toolbox(renderer.vision.unit, renderer.chat_format)
    tools = toolbox.schemas if toolbox is not None else []
    samples: list[TrainSample] = []
    layouts: list[Layout] = []
    for trajectory in read_trajectories(data):
        sample = sft_sample(encode_trajectory(trajectory, renderer, tools))
        layouts.append(renderer.layout(sample.segments))
        samples.append(replace(sample, segments=()))
    if not samples:
        raise RecordError(f"{data} holds no trajectories; write some with `pixelreasoner synth`")
    return samples, layouts


class SFTTrainer:
    """The state of a tuning run: weights, optimiser, order of the data."""

    def __init__(self, model: VisionLanguageModel, config: SFTConfig, steps: int) -> None:
        self.model, self.config, self.steps, self.step = model, config, steps, 0
        set_trainable(model, TrainableParts(vision=not config.freeze_vision))
        self.features = FeatureStore(model)
        self.optimizer = adamw(model.parameters(), config.optim)
        self.rng = np.random.default_rng(config.seed)
        self._order: list[int] = []
        self._losses: list[float] = []
        model.train()

    @property
    def done(self) -> bool:
        """Whether the steps have run out, or the loss has come down as far as asked."""
        enough, recent = self.config.stop_below, self._losses
        low = enough is not None and len(recent) == SMOOTHED and sum(recent) / SMOOTHED < enough
        return self.step >= self.steps or low

    def draw(self, n: int) -> list[int]:
        """The next batch: every sample once per pass, in a new order each pass."""
        while len(self._order) < min(self.config.batch_size, n):
            self._order += self.rng.permutation(n).tolist()
        batch, self._order = self._order[: self.config.batch_size], self._order[self.config.batch_size :]
        return batch

    def update(self, samples: list[TrainSample], layouts: list[Layout]) -> dict[str, float]:
        """One optimiser step; returns what to log."""
        total = batch_tokens([s.n_loss_tokens for s in samples])
        loss_sum = 0.0
        for part in micro_batches(layouts, self.config.micro_batch_tokens):
            with autocast(self.config.precision, self.model.device):
                scores = score_samples(
                    self.model, self.features, [samples[i] for i in part], [layouts[i] for i in part]
                )
            loss = sft_loss(scores.logp_N, n_batch_tokens=total)
            loss.backward()
            loss_sum += loss.item()
        norm = optimizer_step(self.optimizer, step=self.step, total=self.steps, config=self.config.optim)
        self.step += 1
        self._losses = [*self._losses, loss_sum][-SMOOTHED:]
        return {"loss": loss_sum, "grad_norm": norm, "loss_tokens": float(total)}

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "model": self.model.hf.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.bit_generator.state,
            "order": list(self._order),
            "losses": list(self._losses),
            "torch_rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self._order, self._losses = state["step"], list(state["order"]), list(state["losses"])
        self.model.hf.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = state["rng"]
        torch.set_rng_state(state["torch_rng"])
