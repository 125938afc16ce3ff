"""The state of a training run on disk: everything an exact resume needs, written atomically."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import CheckpointError, ConfigError
from pixelreasoner.core.recipe import RESOLVED_FILE, load_recipe, save_resolved

STATE_FILE = "state.pt"


def open_run(folder: Path, config: Config, *, resume: bool) -> dict[str, Any] | None:
    """Prepare a run's folder; returns the saved state when resuming.

    Raises:
        ConfigError: the folder already holds a run and `resume` is off, or its configuration differs.
        CheckpointError: the saved state cannot be read.
    """
    state_path, config_path = folder / STATE_FILE, folder / RESOLVED_FILE
    if not resume:
        if state_path.exists():
            raise ConfigError(
                f"{folder} already holds a run: resume it with --resume, or choose another --out"
            )
        folder.mkdir(parents=True, exist_ok=True)
        save_resolved(config, folder)
        return None
    if not config_path.exists():
        save_resolved(config, folder)
    elif load_recipe(type(config), config_path) != config:
        raise ConfigError(
            f"{config_path} differs from the recipe given: a resumed run must keep its configuration"
        )
    return load_state(state_path) if state_path.exists() else None


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state so that a kill at any moment leaves the old one or the new one, never a torn one."""
    path = folder / STATE_FILE
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def load_state(path: Path) -> dict[str, Any]:
    """Read a state this project wrote.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        # The state holds trajectories as well as tensors; it is our own file, as trusted as the code.
        return torch.load(path, weights_only=False)
    except (OSError, RuntimeError, EOFError) as e:
        raise CheckpointError(f"{path} cannot be read ({e}); delete it to start the run afresh") from e
