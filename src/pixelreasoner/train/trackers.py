"""Where the metrics of a run go: always into metrics.jsonl, and to the trackers a recipe names.

A tracker of your own is a function `(run: TrackedRun) -> Tracker`, named as package.module:object::

    trackers = ["tensorboard", "my_package.tracking:open_mine"]
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from pixelreasoner.core.errors import ConfigError, MissingExtraError
from pixelreasoner.core.files import LineFile
from pixelreasoner.core.metrics_file import drop_after
from pixelreasoner.core.registry import Registry
from pixelreasoner.core.run_folder import METRICS_FILE

PROJECT = "pixelreasoner"
"""The runs' project in trackers that have projects."""
PACKAGES = ("trackio", "wandb", "tensorboard")
"""Trackers that need a package; the package and its extra have the tracker's name."""
_HERE = "pixelreasoner.train.trackers"
TRACKERS = Registry(
    "tracker",
    {
        "jsonl": f"{_HERE}:JsonlTracker",
        "trackio": f"{_HERE}:TrackioTracker",
        "wandb": f"{_HERE}:WandbTracker",
        "tensorboard": f"{_HERE}:TensorBoardTracker",
    },
)


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told about the run."""

    folder: Path
    label: str
    """The stage: "rl", "sft", ..."""
    resume_at: int = 0
    """Steps done before; what was recorded of later ones belongs to a run that died unsaved."""
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The resolved configuration as JSON values."""

    @property
    def name(self) -> str:
        return f"{self.folder.name} ({self.label})"

    @property
    def id(self) -> str:
        """The same whenever this run goes on: 64 bits of a hash of its folder, in hexadecimal."""
        return hashlib.blake2b(str(self.folder.resolve()).encode(), digest_size=8).hexdigest()


class Tracker(Protocol):
    """Takes the metrics of one run."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Those of one finished step, counted from 1."""
        ...

    def close(self) -> None:
        """The run is over, or interrupted."""
        ...


def check_trackers(names: Sequence[str]) -> None:
    """Find every tracker and its package, so that what is missing shows before a model is loaded.

    Raises:
        ConfigError: there is no such tracker, or its package is not installed.
    """
    for name in names:
        TRACKERS.find(name)
        if name in PACKAGES and find_spec(name) is None:
            raise ConfigError(str(_missing(name)))


def open_trackers(names: Sequence[str], run: TrackedRun) -> list[Tracker]:
    """metrics.jsonl, and the named trackers, each once.

    Raises:
        ConfigError: there is no such tracker.
        MissingExtraError: its package is not installed.
    """
    makers: list[Callable[[TrackedRun], Tracker]] = [
        TRACKERS.find(name) for name in dict.fromkeys(("jsonl", *names))
    ]
    trackers: list[Tracker] = []
    with ExitStack() as undo:
        for make in makers:
            trackers.append(make(run))
            undo.callback(trackers[-1].close)
        undo.pop_all()  # all are open: they stay so
    return trackers


class JsonlTracker:
    """A line `{"step": 3, "time": <unix seconds>, <metrics>}` per step, written through at once.

    A killed run loses nothing. Values that are not finite are written as null.
    """

    def __init__(self, run: TrackedRun) -> None:
        path = run.folder / METRICS_FILE
        drop_after(path, run.resume_at)
        self._file = LineFile.open(path)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        values = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        line = json.dumps({"step": step, "time": round(time.time(), 3), **values})
        self._file.append(line.encode() + b"\n")
        self._file.sync()

    def close(self) -> None:
        self._file.close()


class TrackioTracker:
    """trackio, on this machine."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = _import("trackio").init(
            project=PROJECT, name=f"{run.name} {run.id}", config=dict(run.config), resume="allow"
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class WandbTracker:
    """Weights & Biases; its own settings (WANDB_MODE, WANDB_PROJECT, ...) hold."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = _import("wandb").init(
            project=PROJECT, name=run.name, id=run.id, dir=run.folder, config=dict(run.config), resume="allow"
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class TensorBoardTracker:
    """Event files in the run's folder, under tensorboard/."""

    def __init__(self, run: TrackedRun) -> None:
        _import("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.resume_at + 1)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


def _import(package: str) -> Any:
    try:
        return import_module(package)
    except ModuleNotFoundError as e:
        if e.name != package:
            raise
        raise _missing(package) from e


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError(package, package, f"the tracker '{package}'")
