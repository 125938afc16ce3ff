"""Whole steps of reinforcement learning on one group: roll out, score, take the gradient, update."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel

from benchmarks.methods.base import Settings
from benchmarks.methods.ours import Padded, Shared
from benchmarks.methods.rollouts import Ours, PolicyMaker, ScriptedGroups, TrlGeneration, trl_prompt
from benchmarks.methods.trl_trainer import dealt_rewards
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.learn.optim import OptimConfig, optimizer_step
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.scored_group import score_group

OPTIM = OptimConfig(lr=1e-6)


class StepMethod(Protocol):
    rollout_seconds: list[float]
    """Seconds of each step that went into the rollouts."""

    def run(self) -> None:
        """Roll out the group, score it, take the gradient of its loss, update the weights."""
        ...


def _adamw(model: nn.Module) -> torch.optim.Optimizer:
    """The same for both, over weights in any format: what is measured is the time."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=OPTIM.lr, betas=OPTIM.betas, weight_decay=OPTIM.weight_decay)


class OurStep:
    """This package's loop, with a policy to roll out and a method to train."""

    def __init__(
        self,
        model: VisionLanguageModel,
        groups: ScriptedGroups,
        policy: PolicyMaker,
        train: type[Shared] | type[Padded],
    ) -> None:
        self._model, self._train = model, train
        self._rollouts = Ours(model, groups, policy)
        self._optimizer = _adamw(model)
        self.rollout_seconds: list[float] = []

    def run(self) -> None:
        group = tuple(timed(self._rollouts.roll_out, self.rollout_seconds)())
        scored = score_group(group, {"reward": dealt_rewards(group)}, scale="std")
        self._train(self._model, scored, Settings()).run()
        optimizer_step(self._optimizer, step=0, total=1, config=OPTIM)


class TrlStep:
    """`GRPOTrainer.training_step` with its generation, and the same optimiser after it."""

    def __init__(self, hf: PreTrainedModel, renderer: QwenVLRenderer, groups: ScriptedGroups) -> None:
        """Raises MissingExtraError when TRL is not installed."""
        self._hf = hf
        # Kept: it owns the folder that the trainer calls its output.
        self._generation = TrlGeneration(hf, renderer, groups)
        self._trainer = self._generation.trainer
        self._trainer.current_gradient_accumulation_steps = 1
        self._inputs: list[dict[str, Any]] = [
            {"prompt": trl_prompt(renderer, groups.tasks[0])}
        ] * groups.group
        self._optimizer = _adamw(hf)
        self.rollout_seconds: list[float] = []
        self._trainer._generate = timed(self._trainer._generate, self.rollout_seconds)

    def run(self) -> None:
        self._trainer.training_step(self._hf, self._inputs, None)
        optimizer_step(self._optimizer, step=0, total=1, config=OPTIM)


def timed(work: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """`work`, which also notes how long it took."""

    def run(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        out = work(*args, **options)
        seconds.append(time.perf_counter() - start)
        return out

    return run
