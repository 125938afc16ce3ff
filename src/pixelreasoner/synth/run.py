"""Synthesis, start to end: trajectories about PixelWorld's tasks, written to a JSONL file one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.prefetch import prefetch
from pixelreasoner.core.recipe import RESOLVED_FILE, load_recipe, save_resolved
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.synth.compose import compose
from pixelreasoner.synth.mix import Mix, Slot, Template, plan
from pixelreasoner.synth.sight import sight_of
from pixelreasoner.synth.teacher import OracleTeacher
from pixelreasoner.tasks.pixelworld import PixelWorld, WorldConfig
from pixelreasoner.tasks.pixelworld.world import Split

TRAJECTORIES_FILE = "trajectories.jsonl"
AHEAD_PER_WORKER = 8
"""Trajectories composed ahead of the writer: a trajectory holds its pictures, so not all at once."""


class SynthConfig(Config):
    """What to synthesise. The defaults are the paper's."""

    out: Path
    """The folder of the results: `trajectories.jsonl`, its pictures, and this configuration."""
    checkpoint: str = "nano"
    """The model to be taught, a folder or a shipped checkpoint's name. Its wording and pixel budgets are
    used; its weights are not read."""
    world: WorldConfig = WorldConfig()
    """Where the tasks come from. The mix decides how many need the operation, not the world."""
    split: Split = "train"
    n: int = Field(default=7500, ge=1)
    """Trajectories."""
    mix: Mix = Mix()
    unit: Unit = Unit.RELATIVE
    """What the numbers of a box mean to the model's family; one in its chat format goes first."""
    coordinate_step: float = Field(default=20, gt=0)
    """Coordinates are multiples of it, in `unit`."""
    seed: int = 0
    workers: int = Field(default=1, ge=1)
    """Processes that compose; the result does not depend on it."""


def run(config: SynthConfig, *, resume: bool = False) -> dict[Template, int]:
    """Write the trajectories of `config`; how many there are of each template.

    An interrupted run leaves whole records; `resume` adds the missing ones, and the file is then the one an
    uninterrupted run writes. Without it a file that is there is replaced.

    Raises:
        ConfigError: `resume` with another configuration than the folder's.
        CheckpointError: the checkpoint cannot be read.
    """
    _open_folder(config, resume=resume)
    path = config.out / TRAJECTORIES_FILE
    # Writing nothing drops a line that a killed writer left unfinished.
    write_trajectories(path, (), append=resume)
    done = _count_lines(path)
    console = Console(stderr=True)
    bar = track(synthesize(config, start=done), "synth", total=config.n, completed=done, console=console)
    write_trajectories(path, bar, append=True)
    counts = Counter(slot.template for slot in slots(config))
    console.print(_table(counts))
    return dict(counts)


def synthesize(config: SynthConfig, *, start: int = 0) -> Iterator[Trajectory]:
    """The trajectories of `config` in order, from number `start`; each depends on its number only."""
    composer = Composer(config)
    numbered = list(enumerate(slots(config)))[start:]
    if config.workers == 1:
        yield from (composer(number, slot) for number, slot in numbered)
        return
    yield from _in_processes(composer, numbered, config.workers)


def slots(config: SynthConfig) -> list[Slot]:
    """What each trajectory of `config` is."""
    return plan(config.n, config.mix, config.world.kinds, np.random.default_rng(config.seed))


class Composer:
    """Composes any one trajectory of a configuration; built once, and sent to the processes that compose."""

    def __init__(self, config: SynthConfig) -> None:
        self._config = config
        self._world = PixelWorld(config.world)
        folder = checkpoint_folder(config.checkpoint)
        self._sight = sight_of(folder, unit=config.unit, step=config.coordinate_step)
        self._toolbox = self._sight.toolbox()
        self._teacher = OracleTeacher()

    def __call__(self, number: int, slot: Slot) -> Trajectory:
        split, needs = self._config.split, slot.needs_operation
        return compose(
            self._world.task(split, slot.kind, slot.index, needs_operation=needs),
            slot.template,
            self._teacher,
            sight=self._sight,
            toolbox=self._toolbox,
            rng=np.random.default_rng([self._config.seed, number]),
        )


def _in_processes(
    composer: Composer, numbered: Sequence[tuple[int, Slot]], workers: int
) -> Iterator[Trajectory]:
    """The same trajectories, in the same order, a few ahead of whoever takes them."""
    # Fresh processes: forking a process that holds torch's threads can hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from prefetch(pool, partial(_composed, composer), numbered, ahead=workers * AHEAD_PER_WORKER)


def _composed(composer: Composer, numbered: tuple[int, Slot]) -> Trajectory:
    return composer(*numbered)


def _open_folder(config: SynthConfig, *, resume: bool) -> None:
    """Keep the configuration with the results, and refuse to mix those of two."""
    saved = config.out / RESOLVED_FILE
    if resume and saved.exists():
        # How many processes compose does not change what they compose.
        if load_recipe(SynthConfig, saved).model_copy(update={"workers": config.workers}) != config:
            raise ConfigError(
                f"{saved} differs from the recipe given; resume with the same recipe, or choose another --out"
            )
        return
    save_resolved(config, config.out)


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _table(counts: Counter[Template]) -> Table:
    table = Table("template", "trajectories", "share")
    for template in Template:
        if counts[template]:
            share = counts[template] / counts.total()
            table.add_row(template.value, str(counts[template]), f"{share:.1%}")
    return table
