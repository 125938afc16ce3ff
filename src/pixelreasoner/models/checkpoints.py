"""Where checkpoints are: a folder, or the name of one that ships with the package."""

from __future__ import annotations

from pathlib import Path

from pixelreasoner.core.errors import CheckpointError

SHIPPED = Path(__file__).parents[1] / "checkpoints"


def checkpoint_folder(name: str | Path) -> Path:
    """The folder of a checkpoint.

    Raises:
        CheckpointError: neither a folder nor a shipped name; the message lists the shipped ones.
    """
    for folder in (Path(name), SHIPPED / str(name)):
        if (folder / "config.json").is_file():
            return folder
    known = ", ".join(sorted(p.name for p in SHIPPED.iterdir() if p.is_dir())) if SHIPPED.is_dir() else "none"
    raise CheckpointError(f"no checkpoint at '{name}'; give a folder with a config.json, or one of: {known}")
