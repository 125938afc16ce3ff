"""Synthesis, start to end: trajectories about the tasks of a source, written to a JSONL file one by one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field
from rich.table import Table

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.checkpoint_files import vision_spec
from pixelreasoner.chat.families import Family, family_of
from pixelreasoner.core.config import MAY_CHANGE, Config, Count, Seed
from pixelreasoner.core.media_refs import recover
from pixelreasoner.core.prefetch import prefetch
from pixelreasoner.core.processes import worker_processes
from pixelreasoner.core.progress_line import tracked
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.run_folder import keep_config, open_run, starting
from pixelreasoner.core.run_status import locked, running
from pixelreasoner.core.terminal import TerminalConsole
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.rewards.scorers import Scorer, ScoringConfig, build_scorer
from pixelreasoner.synth.compose import ErrorMask, compose, verify
from pixelreasoner.synth.mix import Mix, Slot, Template, plan
from pixelreasoner.synth.outline import Tools, outline
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.teacher import Teacher, TeacherConfig, build_teacher
from pixelreasoner.tasks.config import TasksConfig, build_tasks
from pixelreasoner.tasks.source import TaskSource

AHEAD_PER_WORKER = 8
"""Trajectories composed ahead of the writer: a trajectory holds its pictures, so not all at once."""


class SynthConfig(Config):
    """What to synthesise. The defaults are the paper's."""

    out: Annotated[Path, MAY_CHANGE]
    """The folder of the results: `trajectories.jsonl`, its pictures, and this configuration."""
    checkpoint: str = "nano"
    """The model to be taught: a folder, a shipped checkpoint's name, or a hub id. How it sees, points and
    calls is read from it; its weights are not."""
    interaction: Interaction = Interaction()
    """The operations and the wording of what is written; its limits and sampling are not used here."""
    tasks: TasksConfig = TasksConfig(split="train")
    """Where the tasks come from. The mix decides how many need the operation, not the source."""
    scoring: ScoringConfig = ScoringConfig()
    """Judges the answers of what is written: one that is not right is an error."""
    teacher: TeacherConfig = TeacherConfig()
    """What writes the words of a trajectory."""
    n: Count = 7500
    """Trajectories."""
    mix: Mix = Mix()
    """How many there are of each template."""
    error_mask: ErrorMask = "operation"
    """What is not learned of a message with a deliberately wrong operation: the call (the paper's), or the
    whole message (an ablation)."""
    coordinate_step: float = Field(default=20, gt=0, le=1000)
    """Coordinates are multiples of it, in the unit of the model's family."""
    seed: Seed = 0
    """Of every random draw."""
    workers: Annotated[int, Field(ge=1, le=1024), MAY_CHANGE] = 1
    """Processes that compose; the result does not depend on it."""


def run(config: SynthConfig, *, resume: bool = False) -> dict[Template, int]:
    """Write the trajectories of `config`; how many there are of each template.

    An interrupted run leaves whole records; `resume` adds the missing ones, and the file is then the one an
    uninterrupted run writes.

    Raises:
        ConfigError: the folder holds a run and `resume` is off, or one of another recipe.
        CheckpointError: the checkpoint cannot be read.
        SynthesisError: a task cannot be used, or there are too few of a kind.
    """
    console = TerminalConsole(stderr=True)
    with locked(config.out):
        folder = open_run(config.out, config, resume=resume)
        with running(folder.path, "synth", config.n), starting(folder):
            keep_config(folder, config)
            write_trajectories(folder.trajectories, (), append=True)  # makes it end at the end of a line
            done = recover(folder.trajectories)
            with closing(synthesize(config, start=done)) as made:
                passing = tracked(made, "synth", total=config.n, done=done, console=console)
                write_trajectories(folder.trajectories, passing, append=True)
    counts = Counter(slot.template for slot in slots(config))
    console.print(_table(counts))
    return dict(counts)


def synthesize(config: SynthConfig, *, start: int = 0) -> Generator[Trajectory]:
    """The trajectories of `config` in order, from number `start`; each depends on its number only."""
    composer = Composer(config)
    numbered = list(enumerate(slots(config)))[start:]
    if config.workers == 1:
        yield from (composer(number, slot) for number, slot in numbered)
        return
    yield from _in_processes(composer, numbered, config.workers)


def slots(config: SynthConfig) -> list[Slot]:
    """What each trajectory of `config` is.

    Raises:
        SynthesisError: the source has too few tasks.
    """
    return plan(config.n, config.mix, build_tasks(config.tasks), np.random.default_rng(config.seed))


class Composer:
    """Composes any one trajectory of a configuration; it is sent to the processes that compose."""

    def __init__(self, config: SynthConfig) -> None:
        self._config = config
        self._selected: dict[tuple[str, bool | None], TaskSource] = {}

    def __call__(self, number: int, slot: Slot) -> Trajectory:
        """Trajectory `number`, which is what `slot` says.

        Raises:
            SynthesisError: the task cannot be used, or the result is not what its template says.
        """
        (task,) = self._source(slot).take(slot.index, 1)
        # The teacher's words and the regions draw from streams of their own.
        regions, words = (np.random.default_rng([self._config.seed, number, stream]) for stream in range(2))
        done = outline(task, slot.template, self._tools, regions)
        texts = asyncio.run(self._teacher.write(done, words))
        trajectory = compose(
            done,
            texts,
            self._family.syntax,
            self._tools.vision.coordinates,
            mask=self._config.error_mask,
        )
        if problems := verify(trajectory, self._scorer, self._family.syntax):
            raise SynthesisError(
                f"a {slot.template} trajectory about task {task.id!r} is wrong: {'; '.join(problems)}"
            )
        return trajectory

    def _source(self, slot: Slot) -> TaskSource:
        key = slot.kind, slot.needs_operation
        if key not in self._selected:
            self._selected[key] = self._tasks.select(kind=slot.kind, needs_operation=slot.needs_operation)
        return self._selected[key]

    @cached_property
    def _tasks(self) -> TaskSource:
        return build_tasks(self._config.tasks)

    @cached_property
    def _teacher(self) -> Teacher:
        return build_teacher(self._config.teacher)

    @cached_property
    def _scorer(self) -> Scorer:
        return build_scorer(self._config.scoring)

    @cached_property
    def _family(self) -> Family:
        return family_of(checkpoint_folder(self._config.checkpoint))

    @cached_property
    def _tools(self) -> Tools:
        folder = checkpoint_folder(self._config.checkpoint)
        interaction = self._config.interaction
        chat_format = ChatFormat.load(folder).with_wording(interaction.wording)
        vision = vision_spec(folder, self._family, chat_format)
        return Tools.of(vision, self._config.coordinate_step, interaction.toolbox(vision.unit, chat_format))


def _in_processes(
    composer: Composer, numbered: Sequence[tuple[int, Slot]], workers: int
) -> Iterator[Trajectory]:
    """The same trajectories, in the same order, a few ahead of whoever takes them."""
    with worker_processes(workers) as pool:
        yield from prefetch(pool, partial(_composed, composer), numbered, ahead=workers * AHEAD_PER_WORKER)


def _composed(composer: Composer, numbered: tuple[int, Slot]) -> Trajectory:
    return composer(*numbered)


def _table(counts: Counter[Template]) -> Table:
    table = Table("template", "trajectories", "share")
    for template in Template:
        if counts[template]:
            share = counts[template] / counts.total()
            table.add_row(template.value, str(counts[template]), f"{share:.1%}")
    return table
