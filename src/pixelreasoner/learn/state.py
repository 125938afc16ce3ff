"""The state of a training run on disk: everything an exact resume needs, written atomically."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from pixelreasoner.core.errors import CheckpointError

STATE_FORMAT = 2
"""Rises when a state written before can no longer be read."""


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state so that a kill at any moment leaves the old one or the new one, never a torn one."""
    part = path.with_suffix(".tmp")
    torch.save({"format": STATE_FORMAT, **state}, part)
    os.replace(part, path)


def load_state(path: Path) -> dict[str, Any] | None:
    """Read a state that this project wrote; None where there is none.

    Raises:
        CheckpointError: it cannot be read, or another version of the package wrote it.
    """
    if not path.exists():
        return None
    try:
        # The state holds trajectories as well as tensors; it is our own file, as trusted as the code.
        state = torch.load(path, weights_only=False)
    except (AttributeError, ImportError) as e:
        raise _of_another_version(path) from e  # it holds objects whose classes are gone
    except (OSError, RuntimeError, EOFError, UnpicklingError) as e:
        raise CheckpointError(f"{path} cannot be read ({e}); delete it to start the run afresh") from e
    if state.pop("format", 1) != STATE_FORMAT:
        raise _of_another_version(path)
    return state


def _of_another_version(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} was written by another version of pixelreasoner; finish the run with that version, "
        f"or choose another --out"
    )
