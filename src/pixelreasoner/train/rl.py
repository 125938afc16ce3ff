"""Curiosity-driven reinforcement learning (paper section 4.2).

One step: roll out G attempts at each of a few tasks, score them (Eq. 3-5), select the groups that teach
something (SSR), update the policy on them (GRPO), log. Everything else is one call away.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from pixelreasoner.core.config import Config
from pixelreasoner.core.prefetch import prefetch
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Group
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout, turn_seed
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.config import Precision, TrainableParts
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.loader import set_trainable
from pixelreasoner.models.saving import save_checkpoint
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.objectives.advantages import AdvantageScale
from pixelreasoner.objectives.grpo import GrpoConfig
from pixelreasoner.objectives.replay import ReplayBuffer
from pixelreasoner.objectives.samples import ScoredGroup, score_group
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.group import GroupPolicy
from pixelreasoner.rewards.answers import is_correct
from pixelreasoner.rewards.curiosity import CuriosityConfig, RewardTerms, curiosity_rewards
from pixelreasoner.tasks.pixelworld import PixelWorld, WorldConfig
from pixelreasoner.train.alarm import CollapseAlarm
from pixelreasoner.train.optim import OptimConfig, adamw
from pixelreasoner.train.progress import Interruptible, RunLog
from pixelreasoner.train.rl_metrics import rollout_metrics
from pixelreasoner.train.rl_update import update
from pixelreasoner.train.state import open_run, save_state


class ReplayConfig(Config):
    """Selective sample replay."""

    enabled: bool = True
    capacity: int = 512
    """Groups held."""
    power: float = 1.0
    """Groups are drawn with probability proportional to (sum of |A|)**power."""
    episode_steps: int = Field(default=8, ge=1)
    """Rollout steps per episode; the buffer is cleared after each (the paper: every 512 queries)."""


class RLConfig(Config):
    """The defaults are the paper's where it states them."""

    out: Path
    """The folder of the run; the trained checkpoint is written to `out/model`."""
    checkpoint: str = "nano"
    """The policy to start from: a folder, or a shipped checkpoint's name."""
    world: WorldConfig = WorldConfig()
    """Where the tasks come from."""
    steps: int = 480
    tasks_per_step: int = 64
    """Queries rolled out per step."""
    group_size: int = 8
    """G, attempts per query."""
    reward: CuriosityConfig = CuriosityConfig()
    advantage_scale: AdvantageScale = "std"
    replay: ReplayConfig = ReplayConfig()
    grpo: GrpoConfig = GrpoConfig()
    optim: OptimConfig = OptimConfig(lr=1e-6, warmup=0.03, final=0.5)
    updates_per_step: int = Field(default=2, ge=1)
    """Optimiser steps per rollout step; the groups are shared out evenly."""
    micro_batch_tokens: int = 16_384
    """Tokens in memory at one time, padding included."""
    shared_prefix: bool = True
    """One packed row per group instead of one padded row per attempt; the same gradients."""
    sampling: Sampling = Sampling(max_tokens=1024)
    limits: Limits = Limits()
    rollout_batch: int = Field(default=128, ge=1)
    """Conversations sampled together."""
    freeze_vision: bool = False
    freeze_embeddings: bool = False
    """Train neither the token embeddings nor the output layer."""
    precision: Precision = "bf16"
    seed: int = 0
    save_every: int = Field(default=50, ge=1)
    """Steps between saved states."""


def run(config: RLConfig, *, resume: bool = False) -> Path:
    """Train, and return the folder of the trained checkpoint.

    Raises:
        ConfigError: the folder holds another run.
    """
    state = open_run(config.out, config, resume=resume)
    trainer = RLTrainer(VisionLanguageModel.load(checkpoint_folder(config.checkpoint)), config)
    if state is not None:
        trainer.load_state_dict(state)
    world = PixelWorld(config.world)
    alarm = CollapseAlarm()

    def batch(step: int) -> list[Task]:
        return list(world.tasks("rl", config.tasks_per_step, start=step * config.tasks_per_step))

    show = ("reward", "accuracy", "rapr", "invalid_operations", "seconds")
    with (
        Interruptible() as interrupt,
        RunLog(config.out, config.steps, "rl", resume_at=trainer.step, show=show) as log,
        ThreadPoolExecutor(1) as pool,
        closing(prefetch(pool, batch, range(trainer.step, config.steps), ahead=2)) as batches,
    ):
        for tasks in batches:
            metrics = trainer.train_step(tasks)
            log.step(trainer.step, metrics)
            if warning := alarm.watch(metrics["rapr"]):
                log.note(warning)
            if trainer.step % config.save_every == 0 or interrupt.requested:
                save_state(config.out, trainer.state_dict())
            if interrupt.requested:
                break
    save_state(config.out, trainer.state_dict())
    save_checkpoint(trainer.model, config.out / "model")
    return config.out / "model"


class RLTrainer:
    """The state of a run: policy, optimiser, replay buffer, step."""

    def __init__(self, model: VisionLanguageModel, config: RLConfig) -> None:
        self.model, self.config, self.step = model, config, 0
        set_trainable(
            model, TrainableParts(vision=not config.freeze_vision, embeddings=not config.freeze_embeddings)
        )
        self.features = FeatureStore(model)
        self.policy = GroupPolicy(
            model, features=self.features, batch_size=config.rollout_batch, precision=config.precision
        )
        self.toolbox = Interaction().toolbox(model.renderer.vision.unit, model.renderer.chat_format)
        self.optimizer = adamw(model.parameters(), config.optim)
        self.replay = ReplayBuffer(
            config.replay.capacity, np.random.default_rng(config.seed), power=config.replay.power
        )

    def train_step(self, tasks: list[Task]) -> dict[str, float]:
        """Roll out, score, select, update; returns what to log."""
        clock = [time.perf_counter()]
        groups = self.roll_out(tasks)
        clock.append(time.perf_counter())
        terms, scored = self.score(groups)
        batch = self.select(scored)
        learned = update(self, batch)
        clock.append(time.perf_counter())
        self.step += 1
        self.policy.weight_version = self.step
        return {
            **rollout_metrics(groups, terms, scored),
            **learned,
            "replayed_groups": float(sum(g not in scored for g in batch)),
            "seconds": clock[2] - clock[0],
            "seconds_rollout": clock[1] - clock[0],
            "seconds_update": clock[2] - clock[1],
        }

    def roll_out(self, tasks: list[Task]) -> list[Group]:
        """G attempts at each task; the seed of each follows from the run's seed, the step and its place."""
        g = self.config.group_size
        base = turn_seed(self.config.seed, self.step)
        attempts = [
            RolloutRequest(task, turn_seed(base, i * g + k)) for i, task in enumerate(tasks) for k in range(g)
        ]
        done = rollout(
            attempts,
            policy=self.policy,
            renderer=self.model.renderer,
            toolbox=self.toolbox,
            sampling=self.config.sampling,
            limits=self.config.limits,
        )
        return [tuple(done[i : i + g]) for i in range(0, len(done), g)]

    def score(self, groups: list[Group]) -> tuple[list[list[RewardTerms]], list[ScoredGroup]]:
        """r'(x, y) of every attempt, and its advantage within the group."""
        terms = [
            curiosity_rewards(
                [float(is_correct(y.answer, y.task.answers)) for y in group], group, self.config.reward
            )
            for group in groups
        ]
        scored = [
            score_group(group, [t.total for t in row], scale=self.config.advantage_scale)
            for group, row in zip(groups, terms, strict=True)
        ]
        return terms, scored

    def select(self, scored: list[ScoredGroup]) -> list[ScoredGroup]:
        """The informative groups, topped up from the replay buffer when SSR is on."""
        if not self.config.replay.enabled:
            return [group for group in scored if group.informative]
        if self.step % self.config.replay.episode_steps == 0:
            self.replay.clear()
        return self.replay.refill(scored, size=len(scored))

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "model": self.model.hf.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "replay": self.replay.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = self.policy.weight_version = state["step"]
        self.model.hf.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.replay.load_state_dict(state["replay"])
        torch.set_rng_state(state["torch_rng"])
