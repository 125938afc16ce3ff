"""The steps of the method on the embedded model, in one folder: what the demo and the ablations are made of.

Every step uses the same code and the same kind of recipe as a large model. Finished steps are skipped: after
Ctrl-C or a crash the same command continues where it stopped.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from pixelreasoner.chat.pixels import RESIZED
from pixelreasoner.core.config import Config
from pixelreasoner.core.media import DECODED
from pixelreasoner.core.recipe import find_recipe, load_recipe
from pixelreasoner.core.records import read_trajectories
from pixelreasoner.core.run_folder import MODEL_FOLDER, TRAJECTORIES_FILE
from pixelreasoner.core.run_status import read_status
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.evals.run import EvalConfig
from pixelreasoner.evals.run import run as evaluate
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.saving import is_whole
from pixelreasoner.synth.config import SynthConfig
from pixelreasoner.synth.run import run as synthesise
from pixelreasoner.tasks.pixelworld import WorldConfig
from pixelreasoner.train.rl import RLConfig
from pixelreasoner.train.rl import run as train_rl
from pixelreasoner.train.sft import SFTConfig
from pixelreasoner.train.sft import run as train_sft

C = TypeVar("C", bound=Config)
EVAL_FOLDER = "eval"


class Pipeline:
    """The steps of one seed, in one folder."""

    def __init__(self, out: Path, *, seed: int, photos: Path | None, console: Console) -> None:
        self.out, self.seed, self.console = out, seed, console
        self.world = WorldConfig(seed=seed, photos=photos)
        self.base = checkpoint_folder("nano")

    def recipe(self, cls: type[C], name: str, changes: Sequence[str], **more: Any) -> C:
        """A shipped recipe with this run's seed and world, and what a command line would change of it."""
        shipped = load_recipe(cls, find_recipe(Path(f"nano/{name}")), changes)
        update: dict[str, Any] = {"seed": self.seed, **more}
        if isinstance(shipped, SynthConfig | RLConfig | EvalConfig):
            photos = {} if self.world.photos is None else {"photos": str(self.world.photos)}
            options = shipped.tasks.options | {"seed": self.seed} | photos
            update["tasks"] = shipped.tasks.model_copy(update={"options": options})
            if isinstance(shipped, RLConfig) and shipped.eval_every:
                world = {"seed": self.seed} | photos
                tasks = shipped.eval.tasks.model_copy(update={"options": shipped.eval.tasks.options | world})
                update["eval"] = shipped.eval.model_copy(update={"tasks": tasks})
        return shipped.model_copy(update=update)

    def stage(self, title: str) -> None:
        """Say what begins, after giving back the memory of what ended."""
        _release_memory()
        self.console.rule(f"[bold]{title}", align="left")

    def synthesise(self, name: str, *changes: str) -> Path:
        """Write trajectories for the warm start; returns their file."""
        folder = self.out / name
        config = self.recipe(SynthConfig, "synth", changes, out=folder, checkpoint=str(self.base))
        synthesise(config, resume=True)
        return folder / TRAJECTORIES_FILE

    def warm_start(self, name: str, data: Path) -> Path:
        """Tune the base on trajectories; returns the checkpoint."""
        folder = self.out / name
        if _finished(folder):
            return folder / MODEL_FOLDER
        return train_sft(self.recipe(SFTConfig, "sft", (), out=folder, data=data), resume=True)

    def rl(self, name: str, start: Path, *changes: str) -> Path:
        """Train a policy from `start`; returns the checkpoint."""
        folder = self.out / name
        if _finished(folder):
            return folder / MODEL_FOLDER
        config = self.recipe(RLConfig, "rl", (*changes, f"model.checkpoint={start}"), out=folder)
        return train_rl(config, resume=True)

    def evaluate(self, name: str, checkpoint: Path) -> list[Trajectory]:
        """Greedy rollouts of the held-out tasks, which are the same for every model of a seed.

        They are in `eval/NAME`, where an evaluation that was interrupted goes on.
        """
        folder = self.out / EVAL_FOLDER / name
        self.console.print(f"evaluating {name}")
        evaluate(
            self.recipe(EvalConfig, "eval", (f"model.checkpoint={checkpoint}",), out=folder), resume=True
        )
        return list(read_trajectories(folder / TRAJECTORIES_FILE))


def _finished(folder: Path) -> bool:
    """Whether a training run came to its end: its checkpoint is whole, and its status says so."""
    status = read_status(folder)
    return is_whole(folder / MODEL_FOLDER) and (status is None or status.completed)


def _release_memory() -> None:
    """Drop decoded pictures, and return freed memory to the system; glibc would keep gigabytes of it."""
    DECODED.clear()
    RESIZED.clear()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
