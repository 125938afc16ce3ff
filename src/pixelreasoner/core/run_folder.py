"""The folder of a run: which files it holds, and that one folder holds one run.

Every stage (synthesis, training, evaluation) writes into a folder of its own::

    config.toml          the resolved configuration
    run.json             the kind of run, its number of steps, and how it ended (`core.run_status`)
    metrics.jsonl        a line per step (training)
    trajectories.jsonl   records, with their pictures in media/ (synthesis, evaluation)
    rollouts/            the scored rollouts of every step, and their pictures (RL; `core.rollout_log`)
    state.pt             everything an exact resume needs (training)
    shards-<number>/     tensors of that state, of a run of several processes
    summary.json         what an evaluation found, or what a synthesis came to
    waiting/             what servers gave before something earlier; gone at the end
    journal.jsonl        how long the other files are after each trajectory (synthesis)
    checkpoints/         numbered checkpoints of steps on the way (SFT, RL)
    model/               the trained checkpoint
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from pixelreasoner.core.config import Config, differences
from pixelreasoner.core.errors import ConfigError, PixelReasonerError
from pixelreasoner.core.files import remove_left, write_text
from pixelreasoner.core.media_refs import MEDIA_FOLDER
from pixelreasoner.core.recipe import load_recipe

CONFIG_FILE = "config.toml"
METRICS_FILE = "metrics.jsonl"
TRAJECTORIES_FILE = "trajectories.jsonl"
STATE_FILE = "state.pt"
SUMMARY_FILE = "summary.json"
MODEL_FOLDER = "model"
ROLLOUTS_FOLDER = "rollouts"
WAITING_FOLDER = "waiting"
JOURNAL_FILE = "journal.jsonl"
CHECKPOINTS_FOLDER = "checkpoints"


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds one run, and no other's."""

    path: Path

    @property
    def metrics(self) -> Path:
        return self.path / METRICS_FILE

    @property
    def trajectories(self) -> Path:
        return self.path / TRAJECTORIES_FILE

    @property
    def state(self) -> Path:
        return self.path / STATE_FILE

    @property
    def summary(self) -> Path:
        return self.path / SUMMARY_FILE

    @property
    def model(self) -> Path:
        return self.path / MODEL_FOLDER

    @property
    def rollouts(self) -> Path:
        return self.path / ROLLOUTS_FOLDER

    @property
    def waiting(self) -> Path:
        return self.path / WAITING_FOLDER

    @property
    def journal(self) -> Path:
        return self.path / JOURNAL_FILE

    @property
    def has_results(self) -> bool:
        """Whether anything is there that a run has made; files without a byte do not count."""
        results = (
            self.metrics,
            self.trajectories,
            self.state,
            self.summary,
            self.model,
            self.rollouts,
            self.waiting,
            self.journal,
        )
        return any(path.is_dir() or (path.exists() and path.stat().st_size) for path in results)

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint after a step."""
        return self.path / CHECKPOINTS_FOLDER / step_name(step)

    def checkpoints(self) -> dict[int, Path]:
        """The numbered checkpoints that are there, by step, in order."""
        return numbered(self.path / CHECKPOINTS_FOLDER, suffix="")


def open_run(path: Path, config: Config, *, resume: bool) -> RunFolder:
    """The folder of a run, its configuration saved in it. The caller holds its lock (`run_status.locked`).

    Args:
        path: made when missing.
        config: the run's; a folder that holds another one is refused.
        resume: go on with the run that the folder holds; a folder without one starts afresh. Fields that are
            marked `MAY_CHANGE` may differ then (`keep_config` writes the new ones down).

    Raises:
        ConfigError: the folder holds a run and `resume` is off, or one with another configuration, or results
            without a configuration; or it cannot be written to.
    """
    folder, saved = RunFolder(path), path / CONFIG_FILE
    remove_left_files(folder)
    if not saved.exists() or saved.stat().st_size == 0:  # of length 0 after a power cut
        if folder.has_results:
            raise ConfigError(
                f"{path} holds results, and no {CONFIG_FILE} that says what they are of; "
                f"choose another --out, or move them away"
            )
        _save(config, saved)
        return folder
    if not resume:
        raise ConfigError(f"{path} already holds a run; go on with --resume, or choose another --out")
    found = differences(load_recipe(type(config), saved), config)
    if fixed := [str(difference) for difference in found if not difference.may_change]:
        raise ConfigError(
            f"{saved} differs from the recipe given in {', '.join(fixed)}; "
            f"resume with the same recipe, or choose another --out"
        )
    return folder


def remove_left_files(folder: RunFolder) -> None:
    """Remove the temporary files that a killed run left; the caller holds the folder's lock."""
    inner = ("", MEDIA_FOLDER, ROLLOUTS_FOLDER, f"{ROLLOUTS_FOLDER}/{MEDIA_FOLDER}", CHECKPOINTS_FOLDER)
    for name in inner:
        remove_left(folder.path / name)


def keep_config(folder: RunFolder, config: Config) -> None:
    """Write a configuration with which a run goes on in the place of the one it began with."""
    saved = folder.path / CONFIG_FILE
    if load_recipe(type(config), saved) != config:
        _save(config, saved)


@contextmanager
def starting(folder: RunFolder, *, keeps: Callable[[], bool] = lambda: False) -> Generator[None]:
    """Around a run: a recipe that turns out wrong before its first result does not keep the folder.

    On a `PixelReasonerError` a folder without results is given free, so that the mended recipe can have it.

    Args:
        folder: of the run.
        keeps: whether there is something else with which the run goes on.
    """
    try:
        yield
    except PixelReasonerError:
        if not folder.has_results and not keeps():
            (folder.path / CONFIG_FILE).unlink(missing_ok=True)
        raise


def step_name(step: int) -> str:
    """`step-000040`: names in the order of their steps, up to a million of them."""
    return f"step-{step:06}"


def numbered(folder: Path, *, suffix: str) -> dict[int, Path]:
    """What is called `step_name(step)` and `suffix` in a folder, by step, in order."""
    pattern = re.compile(rf"step-(\d{{6,}}){re.escape(suffix)}")
    names = os.listdir(folder) if folder.is_dir() else []
    matches = [match for name in names if (match := pattern.fullmatch(name))]
    return {step: folder / name for step, name in sorted((int(m[1]), m[0]) for m in matches)}


def _save(config: Config, path: Path) -> None:
    """Write a configuration, every default spelled out.

    TOML has no null: a field that is None is left out, so a field that may be None has None for its default.
    """
    table = config.model_dump(mode="json", exclude_none=True)
    write_text(path, tomli_w.dumps(table), ConfigError)
    assert load_recipe(type(config), path) == config, f"{type(config).__name__} does not survive TOML"
