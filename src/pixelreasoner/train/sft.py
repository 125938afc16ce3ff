"""Warm-start instruction tuning on synthesised trajectories (paper section 4.1)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import Field

from pixelreasoner.chat.encode import check_length, encode_trajectory
from pixelreasoner.core.config import MAY_CHANGE, MOST, Bytes, Config, Count, CountOrZero, Seed
from pixelreasoner.core.errors import NonFiniteError
from pixelreasoner.core.progress_line import loading
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.run_folder import RunFolder, keep_config, open_run, starting
from pixelreasoner.core.run_status import locked, running
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.learn.factory import Factory
from pixelreasoner.learn.learner import Learner, LearnerConfig
from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.processes import ONE_PROCESS, Processes, processes_of_run
from pixelreasoner.learn.state import save_state
from pixelreasoner.models.config import ModelConfig, TrainableParts
from pixelreasoner.objectives.scored_group import ScoredGroup
from pixelreasoner.objectives.sft import SftObjective
from pixelreasoner.train.progress import Interruptible, RunLog
from pixelreasoner.train.saving import keep_skipped, non_finite, restore, save_progress, save_result
from pixelreasoner.train.sft_data import SftData
from pixelreasoner.train.trackers import check_trackers


class SFTConfig(Config):
    """The defaults of batch, rate and warm-up are the paper's (App. C.3)."""

    out: Annotated[Path, MAY_CHANGE]
    """The folder of the run; the tuned checkpoint is written to `out/model`."""
    model: ModelConfig = ModelConfig(dtype="fp32", precision="bf16", train=TrainableParts(vision=False))
    """The model to start from, and what of it learns."""
    interaction: Interaction = Interaction()
    """The operations and the wording of the prompts."""
    data: Path
    """Trajectories (JSONL) written by `synth` or by a rollout."""
    data_bytes: Annotated[Bytes, MAY_CHANGE] = 2**30
    """Memory for trajectories and their pictures at the size the model sees; the others of the file are read
    again for each batch."""
    steps: Annotated[Count | None, MAY_CHANGE] = None
    """Optimiser steps; None takes `epochs` passes over the data."""
    epochs: Annotated[float, Field(gt=0, le=MOST), MAY_CHANGE] = 1.0
    """Passes over the data, where `steps` is not set."""
    batch_size: Count = 128
    """Trajectories per optimiser step."""
    micro_batch_tokens: Count = 16_384
    """Tokens of a packed row: what is in memory at one time."""
    max_skipped_steps: Annotated[CountOrZero, MAY_CHANGE] = 3
    """Optimiser steps in a row that are skipped because their loss or gradient norm is not finite; the next
    one ends the run. 0: the first does. Weights that are not finite end it at once."""
    optim: OptimConfig = OptimConfig(lr=1e-6, warmup=0.1)
    """The optimiser and its learning rate."""
    seed: Seed = 0
    """Of the order of the data."""
    save_every: Annotated[Count, MAY_CHANGE] = 100
    """Steps between saved states, each with a checkpoint in `checkpoints/`."""
    keep_checkpoints: Annotated[CountOrZero, MAY_CHANGE] = 2
    """The last so many checkpoints are kept, besides `model/`; 0 writes none."""
    trackers: Annotated[tuple[str, ...], MAY_CHANGE] = ()
    """Where metrics go besides metrics.jsonl: trackio, wandb, tensorboard, or package.module:object."""


def run(config: SFTConfig, *, resume: bool = False) -> Path:
    """Tune, and return the folder of the tuned checkpoint.

    Raises:
        ConfigError: the folder holds another run, another process works on it, or a tracker is not there.
        CheckpointError: the checkpoint or the saved state cannot be used.
        RecordError: the data are empty or unreadable.
        NonFiniteError: the weights are not finite, or too many steps in a row had to be skipped.
    """
    check_trackers(config.trackers)
    folder = RunFolder(config.out)
    with (
        processes_of_run(config.model.device) as processes,
        processes.on_main_within(lambda: locked(config.out)),
    ):
        processes.on_main(lambda: open_run(config.out, config, resume=resume))
        with processes.on_main_within(lambda: starting(folder)):
            trainer = build(config, processes)
        with processes.on_main_within(lambda: running(folder.path, "sft", trainer.steps)):
            restore(trainer, folder, keep=config.keep_checkpoints, processes=processes)
            processes.on_main(lambda: keep_config(folder, config))
            with Interruptible(processes=processes) as interrupt:
                train(trainer, folder, interrupt)
                if trainer.done:
                    save_result(trainer, folder, processes)
    return folder.model


def train(trainer: SFTTrainer, folder: RunFolder, interrupt: Interruptible) -> None:
    """The steps that are left, saved and logged as they are done, until an interrupt asks to stop."""
    config, processes = trainer.config, trainer.processes
    with RunLog(
        folder.path, trainer.steps, "sft", resume_at=trainer.step, show=("loss", "grad_norm"),
        trackers=config.trackers, config=config, processes=processes,
    ) as log:  # fmt: skip
        while not trainer.done:
            metrics = trainer.train_step()
            log.step(trainer.step, metrics)
            if trainer.skipped is not None:
                log.note(trainer.skipped)
            stop = interrupt.requested_by_any()
            if trainer.step % config.save_every == 0 and not trainer.done:
                save_progress(trainer, folder, keep=config.keep_checkpoints, processes=processes)
            elif stop:
                save_state(folder.state, trainer.state_dict(), processes)
            if stop:
                break


def build(config: SFTConfig, processes: Processes = ONE_PROCESS) -> SFTTrainer:
    """A trainer with the model and the data that the configuration names.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        RecordError: the data are empty or unreadable, or longer than what the model can read.
    """
    with loading(config.model.checkpoint) if processes.is_main else nullcontext():
        factory = Factory(config.model, config.interaction.wording, processes)
    renderer = factory.renderer
    toolbox = config.interaction.toolbox(renderer.vision.unit, renderer.chat_format)
    tools = () if toolbox is None else toolbox.schemas
    with processes.agreed():
        data = SftData(
            config.data,
            lambda y: check_length(encode_trajectory(y, renderer, tools), renderer),
            renderer.layout,
            max_bytes=config.data_bytes,
            label="reading data" if processes.is_main else None,
        )
    steps = config.steps or max(1, round(config.epochs * len(data) / config.batch_size))
    learner = LearnerConfig(
        optim=config.optim,
        total_updates=steps,
        max_row_tokens=config.micro_batch_tokens,
        max_skipped_steps=config.max_skipped_steps,
    )
    return SFTTrainer(
        config,
        factory.learner(SftObjective(), learner, layout_of=data.layout_of),
        data,
        steps,
        processes=processes,
    )


class Groups(Protocol):
    """Groups by number, in memory or not."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> ScoredGroup: ...


class SFTTrainer:
    """The state of a tuning run: learner, and order of the data."""

    def __init__(
        self,
        config: SFTConfig,
        learner: Learner,
        groups: Groups,
        steps: int,
        *,
        processes: Processes = ONE_PROCESS,
    ) -> None:
        """A run of at most `steps` optimiser steps over `groups`: one per trajectory, on each process all."""
        self.processes = processes
        self.config, self.learner, self.groups, self.steps = config, learner, groups, steps
        self.step = 0
        self._rng = np.random.default_rng(config.seed)
        self._order: list[int] = []
        self.skipped: str | None = None
        """What is to be said of the last step, when it was skipped."""

    @property
    def done(self) -> bool:
        return self.step >= self.steps

    def train_step(self) -> dict[str, float]:
        """One optimiser step on the next batch; returns what to log."""
        began = time.perf_counter()
        batch = self._next_batch()
        with self.processes.agreed():  # a file may be gone
            groups = [self.groups[i] for i in batch]
        step, folder = self.step + 1, RunFolder(self.config.out)
        try:
            metrics = self.learner.update(groups)
        except NonFiniteError as e:
            raise non_finite(e, folder, step, self._records(batch), self.processes) from e
        self.skipped = None
        if n := metrics.get("skipped_steps"):
            self.skipped = keep_skipped(n, folder, step, self._records(batch), self.processes)
        self.step = step
        return metrics | {"seconds": time.perf_counter() - began}

    def _records(self, batch: Sequence[int]) -> Iterator[Trajectory]:
        """Those of a batch as the file has them: the groups hold tokens only, no texts and no pictures."""
        everything = read_trajectories(self.config.data, tolerate_truncation=True)
        return (y for i, y in enumerate(everything) if i in batch)

    def _next_batch(self) -> list[int]:
        """Every trajectory once per epoch, in a new order each epoch."""
        n = len(self.groups)
        while len(self._order) < min(self.config.batch_size, n):
            self._order += self._rng.permutation(n).tolist()
        batch, self._order = self._order[: self.config.batch_size], self._order[self.config.batch_size :]
        return batch

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "learner": self.learner.state_dict(),
            "rng": self._rng.bit_generator.state,
            "order": list(self._order),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.step, self._order = state["step"], list(state["order"])
        self.learner.load_state_dict(state["learner"])
        self._rng.bit_generator.state = state["rng"]
