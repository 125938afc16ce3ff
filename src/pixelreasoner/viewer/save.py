"""Trajectories to a file: an HTML page, or records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.html import save_html

SAVE_SUFFIXES = (".html", ".jsonl")
"""The suffixes of the formats of `save`."""


def save(trajectories: Trajectory | Sequence[Trajectory], path: str | Path) -> None:
    """Write one or several to a file: `.html` for a page, `.jsonl` for records that can be read again.

    Raises:
        RecordError: the name ends in neither.
    """
    path = Path(path)
    several = [trajectories] if isinstance(trajectories, Trajectory) else list(trajectories)
    match path.suffix:
        case ".html":
            save_html(several, path, title=several[0].task.question if len(several) == 1 else "Trajectories")
        case ".jsonl":
            write_trajectories(path, several)
        case _:
            raise RecordError(
                f"{path}: cannot tell what to write; end the name in {' or '.join(SAVE_SUFFIXES)}"
            )
