"""One trajectory to a file: an HTML page, or a record."""

from __future__ import annotations

from pathlib import Path

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.html import save_html

SAVE_SUFFIXES = (".html", ".jsonl")
"""The suffixes of the formats of `save`."""


def save(trajectory: Trajectory, path: str | Path) -> None:
    """Write a trajectory to a file: `.html` for a page, `.jsonl` for a record that can be read again.

    Raises:
        RecordError: the name ends in neither, or the place cannot be written to.
    """
    path = Path(path)
    match path.suffix:
        case ".html":
            save_html([trajectory], path, title=trajectory.task.question)
        case ".jsonl":
            write_trajectories(path, [trajectory])
        case _:
            raise RecordError(
                f"{path}: cannot tell what to write; end the name in {' or '.join(SAVE_SUFFIXES)}"
            )
