"""Curiosity-driven reinforcement learning (paper section 4.2).

One step: roll out each of a few tasks G times, score the trajectories (Eq. 3-5), select the informative
groups (SSR), update the policy on them (GRPO), log. Everything else is one call away.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.config import MAY_CHANGE, MOST, Bytes, Config, Count, CountOrZero, Seed
from pixelreasoner.core.errors import NonFiniteError
from pixelreasoner.core.prefetch import prefetch
from pixelreasoner.core.progress_line import loading
from pixelreasoner.core.rollout_log import RolloutLog, RolloutLogConfig
from pixelreasoner.core.run_folder import RunFolder, keep_config, open_run, starting
from pixelreasoner.core.run_status import locked, running
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Group
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.rollout import RolloutRequest, rollout, turn_seed
from pixelreasoner.learn.factory import Factory
from pixelreasoner.learn.learner import Learner, LearnerConfig
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.processes import ONE_PROCESS, Processes, processes_of_run
from pixelreasoner.learn.state import save_state
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.objectives.advantages import AdvantageScale
from pixelreasoner.objectives.grpo import GrpoConfig, GrpoObjective
from pixelreasoner.objectives.replay import ReplayBuffer
from pixelreasoner.objectives.scored_group import ScoredGroup, score_group
from pixelreasoner.objectives.truncation import MaskTruncated, mask_truncated
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Policy
from pixelreasoner.rewards.scorers import ReferenceCheck, Scorer, ScoringConfig, build_scorer
from pixelreasoner.rewards.terms import Rewards, check_rewards, default_rewards, score_terms
from pixelreasoner.tasks.config import TasksConfig, build_tasks
from pixelreasoner.train.alarm import CollapseAlarm
from pixelreasoner.train.evaluation import InRunEvalConfig, InRunEvaluator
from pixelreasoner.train.progress import Interruptible, RunLog
from pixelreasoner.train.rl_metrics import (
    check_term_names,
    replay_metrics,
    rollout_metrics,
    scored_records,
)
from pixelreasoner.train.saving import keep_skipped, non_finite, restore, save_progress, save_result
from pixelreasoner.train.trackers import check_trackers

SHOWN = ("reward", "accuracy", "rapr", "invalid_operations", "seconds")
"""Metrics on the progress line."""


class ReplayConfig(Config):
    """Selective sample replay."""

    enabled: bool = True
    """Whether groups of earlier steps fill the places of those that teach nothing."""
    capacity: Count = 512
    """Groups held."""
    max_bytes: Bytes = 2 * 2**30
    """Memory for them; the oldest leave first. Pictures from files take next to nothing."""
    power: float = Field(default=1.0, ge=0, le=10)
    """Groups are sampled with probability proportional to (sum of |A|)**power."""
    max_repeats: Count = 4
    """A group leaves the buffer once it was replayed so often."""
    episode_steps: Count = 8
    """Rollout steps per episode; the buffer is cleared after each (the paper: every 512 queries)."""


class RLConfig(Config):
    """The defaults are the paper's where it states them."""

    out: Annotated[Path, MAY_CHANGE]
    """The folder of the run; the trained checkpoint is written to `out/model`."""
    model: ModelConfig = ModelConfig(dtype="fp32", precision="bf16")
    """The policy to start from, and what of it learns."""
    interaction: Interaction = Interaction()
    """The operations, the limits, the sampling and the wording of rollouts."""
    tasks: TasksConfig = TasksConfig(split="rl")
    """What the policy is asked in training."""
    scoring: ScoringConfig = ScoringConfig()
    """Judges the answers."""
    rewards: Rewards = Field(default_factory=default_rewards)
    """The terms of the reward by name. RL without curiosity is `rewards.curiosity.weight=0`."""
    steps: Annotated[Count, MAY_CHANGE] = 480
    """Each rolls out, scores, selects and updates."""
    tasks_per_step: Count = 64
    """Queries rolled out per step."""
    group_size: int = Field(default=8, ge=2, le=MOST)
    """G, rollouts per query; an advantage compares at least two."""
    advantage_scale: AdvantageScale = "std"
    """What the centred rewards of a group are divided by: their std (GRPO), nothing (Dr. GRPO), or the std
    of the correctness term alone, beside which alpha and beta keep their size."""
    mask_truncated: MaskTruncated = "none"
    """Of a rollout that a length limit cut off, learn everything ("none"), all but the message that was cut
    ("turns"), or nothing ("all"); its reward counts in its group's mean."""
    replay: ReplayConfig = ReplayConfig()
    """Selective sample replay."""
    grpo: GrpoConfig = GrpoConfig()
    """The loss."""
    optim: OptimConfig = OptimConfig(lr=1e-6, warmup=0.03, final=0.5)
    """The optimiser and its learning rate."""
    updates_per_step: Count = 2
    """Optimiser steps per rollout step; the groups are shared out evenly."""
    micro_batch_tokens: Count = 16_384
    """Tokens of a packed row: what is in memory at one time."""
    max_skipped_steps: Annotated[CountOrZero, MAY_CHANGE] = 3
    """Optimiser steps in a row that are skipped because their loss or gradient norm is not finite; the next
    one ends the run. 0: the first does. Weights that are not finite end it at once."""
    rollout_batch: Count = 128
    """Sequences sampled together."""
    seed: Seed = 0
    """Of every random draw."""
    save_every: Annotated[Count, MAY_CHANGE] = 50
    """Steps between saved states, each with a checkpoint in `checkpoints/`."""
    keep_checkpoints: Annotated[CountOrZero, MAY_CHANGE] = 2
    """The last so many checkpoints are kept, besides `model/`; 0 writes none."""
    eval_every: Annotated[CountOrZero, MAY_CHANGE] = 0
    """Steps between two evaluations (`eval`); 0 for none. The last step has one, too."""
    eval: Annotated[InRunEvalConfig, MAY_CHANGE] = InRunEvalConfig()
    """What is evaluated every `eval_every` steps."""
    rollout_log: Annotated[RolloutLogConfig, MAY_CHANGE] = RolloutLogConfig()
    """The scored rollouts of every step, in `rollouts/`."""
    trackers: Annotated[tuple[str, ...], MAY_CHANGE] = ()
    """Where metrics go besides metrics.jsonl: trackio, wandb, tensorboard, or package.module:object."""

    @model_validator(mode="after")
    def _samples_from_what_is_trained(self) -> RLConfig:
        """The ratio pi_theta / pi_behavior is that of two full softmax distributions at one temperature."""
        sampling = self.interaction.sampling
        if sampling.temperature == 0:
            raise ValueError(
                "interaction.sampling.temperature = 0 is greedy: all rollouts of a group are the same, and "
                "their log-probabilities are not those of the sampler; RL needs a temperature above 0"
            )
        if sampling.top_p < 1:
            raise ValueError(
                f"interaction.sampling.top_p = {sampling.top_p} samples from a part of the distribution, and "
                "the log-probabilities that RL trains with are those of the whole; set top_p = 1 (a lower "
                "temperature also makes rare tokens rarer)"
            )
        return self


def run(config: RLConfig, *, resume: bool = False) -> Path:
    """Train, and return the folder of the trained checkpoint.

    Raises:
        ConfigError: the folder holds another run, another process works on it, or a tracker is not there.
        CheckpointError: the checkpoint or the saved state cannot be used.
        NonFiniteError: the weights are not finite, or too many steps in a row had to be skipped.
    """
    check_trackers(config.trackers)
    folder = RunFolder(config.out)
    with (
        processes_of_run(config.model.device) as processes,
        processes.on_main_within(lambda: locked(config.out)),
    ):
        processes.on_main(lambda: open_run(config.out, config, resume=resume))
        with (
            processes.on_main_within(lambda: running(folder.path, "rl", config.steps)),
            processes.on_main_within(lambda: starting(folder)),
        ):
            trainer = build(config, processes)
            restore(trainer, folder, keep=config.keep_checkpoints, processes=processes)
            processes.on_main(lambda: keep_config(folder, config))
            processes.on_main(lambda: trainer.rollout_log.resume(trainer.step))
            with Interruptible(processes=processes) as interrupt:
                train(trainer, folder, interrupt)
                if trainer.step == config.steps:
                    save_result(trainer, folder, processes)
    return folder.model


def train(trainer: RLTrainer, folder: RunFolder, interrupt: Interruptible) -> None:
    """The steps that are left, saved and logged as they are done, until an interrupt asks to stop."""
    config, processes = trainer.config, trainer.processes
    with processes.agreed():
        source = build_tasks(config.tasks, endless=True)
    references = ReferenceCheck(trainer.scorer)

    def batch(step: int) -> list[Task]:
        return list(source.take(step * config.tasks_per_step, config.tasks_per_step))

    with (
        RunLog(
            folder.path, config.steps, "rl", resume_at=trainer.step, show=SHOWN,
            trackers=config.trackers, config=config, processes=processes,
        ) as log,
        ThreadPoolExecutor(1) as pool,
        closing(prefetch(pool, batch, range(trainer.step, config.steps), ahead=2)) as batches,
    ):  # fmt: skip
        for tasks in batches:
            for message in references.messages(tasks):
                log.note(message)
            metrics = trainer.train_step(tasks)
            log.step(trainer.step, metrics | trainer.evaluate())
            for message in trainer.evaluation_messages():
                log.note(message)
            for message in (trainer.warning, trainer.skipped):
                if message is not None:
                    log.note(message)
            stop = interrupt.requested_by_any()
            if trainer.step % config.save_every == 0 and trainer.step < config.steps:
                save_progress(trainer, folder, keep=config.keep_checkpoints, processes=processes)
            elif stop:
                save_state(folder.state, trainer.state_dict(), processes)
            if stop:
                break


def build(config: RLConfig, processes: Processes = ONE_PROCESS) -> RLTrainer:
    """A trainer with the parts that the configuration names.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        ConfigError: a part of the recipe cannot be used, or not with this model.
    """
    check_rewards(config.rewards)
    check_term_names(config.rewards)
    with loading(config.model.checkpoint) if processes.is_main else nullcontext():
        factory = Factory(config.model, config.interaction.wording, processes)
    renderer = factory.renderer
    config.interaction.check_lengths(renderer.max_tokens)
    learner = LearnerConfig(
        optim=config.optim,
        total_updates=config.steps,
        steps_per_update=config.updates_per_step,
        max_row_tokens=config.micro_batch_tokens,
        max_skipped_steps=config.max_skipped_steps,
    )
    objective = GrpoObjective(config.grpo, config.interaction.sampling.temperature)
    trained, policy = factory.learner(objective, learner), factory.policy(batch_size=config.rollout_batch)
    with processes.agreed():
        return RLTrainer(
            config,
            learner=trained,
            policy=policy,
            renderer=renderer,
            toolbox=config.interaction.toolbox(renderer.vision.unit, renderer.chat_format),
            scorer=build_scorer(config.scoring),
            processes=processes,
        )


class RLTrainer:
    """The state of a run: learner, policy, replay buffer, alarm, step."""

    def __init__(
        self,
        config: RLConfig,
        *,
        learner: Learner,
        policy: Policy,
        renderer: Renderer,
        toolbox: Toolbox | None,
        scorer: Scorer,
        processes: Processes = ONE_PROCESS,
    ) -> None:
        self.config, self.learner, self.policy, self.processes = config, learner, policy, processes
        self.steps = config.steps
        self.renderer, self.toolbox, self.scorer = renderer, toolbox, scorer
        self.replay = ReplayBuffer(
            config.replay.capacity,
            np.random.default_rng(config.seed),
            power=config.replay.power,
            max_repeats=config.replay.max_repeats,
            max_bytes=config.replay.max_bytes,
        )
        self.alarm = CollapseAlarm()
        self.warning: str | None = None
        """Of the alarm, when the last step set it off."""
        self.skipped: str | None = None
        """What is to be said of the last step, when it was skipped."""
        self.rollout_log = RolloutLog(RunFolder(config.out).rollouts, config.rollout_log)
        self.evaluator = None
        if config.eval_every:
            self.evaluator = InRunEvaluator(
                config.eval, policy=policy, renderer=renderer, toolbox=toolbox, scorer=scorer,
                interaction=config.interaction, batch_size=config.rollout_batch, processes=processes,
            )  # fmt: skip
        self.step = 0

    def train_step(self, tasks: list[Task]) -> dict[str, float]:
        """Roll out, score, select, update; returns what to log."""
        clock = [time.perf_counter()]
        with self.processes.agreed():  # each has a share of the tasks
            groups = self.roll_out(tasks)
            clock.append(time.perf_counter())
            own = self.score(groups)
        scored = self.processes.gather_shares(own)
        step = self.step + 1
        self.processes.on_main(lambda: self.rollout_log.add(step, scored_records(scored, step)))
        batch = self.select(scored)
        replayed = replay_metrics(batch, step=self.step)
        learned = self.update(batch)
        self.step += 1
        self.policy.load_weights(self.learner.weights(), version=self.step)
        clock.append(time.perf_counter())
        rolled_out = rollout_metrics(scored)
        self.warning = self.alarm.watch(rolled_out["rapr"])
        return {
            **rolled_out,
            **learned,
            **replayed,
            **self.alarm.metrics(),
            "seconds": clock[2] - clock[0],
            "seconds_rollout": clock[1] - clock[0],
            "seconds_update": clock[2] - clock[1],
        }

    def roll_out(self, tasks: list[Task]) -> list[Group]:
        """G rollouts of each task of this process's share.

        The seed of each follows from the run's seed, the step and its place among those of all processes.
        """
        g = self.config.group_size
        base = turn_seed(self.config.seed, self.step)
        trajectories = rollout(
            [
                RolloutRequest(task, turn_seed(base, i * g + k))
                for i, task in self.processes.share(list(enumerate(tasks)))
                for k in range(g)
            ],
            policy=self.policy,
            renderer=self.renderer,
            toolbox=self.toolbox,
            sampling=self.config.interaction.sampling,
            limits=self.config.interaction.limits,
        )
        return [tuple(trajectories[i : i + g]) for i in range(0, len(trajectories), g)]

    def score(self, groups: list[Group]) -> list[ScoredGroup]:
        """r'(x, y) of every trajectory, and its advantage within the group."""
        scored: list[ScoredGroup] = []
        for group in groups:
            scores = [self.scorer(y.answer, y.task.answers, y.task) for y in group]
            terms = score_terms(group, scores, self.config.rewards)
            kept = tuple(mask_truncated(y, self.config.mask_truncated) for y in group)
            scored.append(score_group(kept, terms, scale=self.config.advantage_scale, scores=scores))
        return scored

    def select(self, scored: list[ScoredGroup]) -> list[ScoredGroup]:
        """The informative groups, topped up from the replay buffer when SSR is on."""
        if not self.config.replay.enabled:
            return [group for group in scored if group.informative]
        if self.step % self.config.replay.episode_steps == 0:
            self.replay.clear()
        return self.replay.refill(scored, size=len(scored))

    def update(self, batch: list[ScoredGroup]) -> dict[str, float]:
        """Learn from the groups; a batch that cannot be learned from is kept in a file."""
        step, folder = self.step + 1, RunFolder(self.config.out)
        try:
            metrics = self.learner.update(batch)
        except NonFiniteError as e:
            self.processes.on_main(self.rollout_log.flush)
            raise non_finite(e, folder, step, scored_records(batch, step), self.processes) from e
        self.skipped = None
        if "skipped_steps" in metrics:
            self.processes.on_main(self.rollout_log.flush)
            records = scored_records(batch, step)
            self.skipped = keep_skipped(metrics["skipped_steps"], folder, step, records, self.processes)
        return metrics

    def evaluate(self) -> dict[str, float]:
        """The metrics of the held-out tasks, on a step that has an evaluation; otherwise none."""
        every = self.config.eval_every
        due = self.evaluator is not None and (self.step % every == 0 or self.step == self.config.steps)
        return self.evaluator() if self.evaluator is not None and due else {}

    def evaluation_messages(self) -> list[str]:
        """What is to be said of the held-out tasks, each once."""
        return [] if self.evaluator is None else self.evaluator.messages()

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs; the rollouts up to here are on disk."""
        self.processes.on_main(self.rollout_log.flush)
        return {
            "step": self.step,
            "learner": self.learner.state_dict(),
            "replay": self.replay.state_dict(),
            "alarm": self.alarm.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step = state["step"]
        self.learner.load_state_dict(state["learner"])
        self.replay.load_state_dict(state["replay"])
        self.alarm.load_state_dict(state["alarm"])
        self.policy.load_weights(self.learner.weights(), version=self.step)
