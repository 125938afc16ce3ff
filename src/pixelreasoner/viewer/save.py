"""Trajectories to a file: an HTML page, or records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.trajectory import Trajectory
from pixelreasoner.viewer.gallery import Attempts, write_gallery
from pixelreasoner.viewer.html import save_html

SAVE_SUFFIXES = (".html", ".jsonl")
"""The suffixes of the formats of `save`."""


def save(trajectories: Trajectory | Sequence[Trajectory], path: str | Path) -> None:
    """Write one or several to a file: `.html` for a page, `.jsonl` for records that can be read again.

    The page of one is one file; that of several has a folder beside it, with their pictures.

    Raises:
        RecordError: the name ends in neither, or the place cannot be written to.
    """
    path = Path(path)
    several = [trajectories] if isinstance(trajectories, Trajectory) else list(trajectories)
    match path.suffix:
        case ".html":
            if len(several) == 1:
                save_html(several[0], path, title=several[0].task.question)
            else:
                write_gallery(path, [Attempts("trajectories", several)], title="Trajectories")
        case ".jsonl":
            write_trajectories(path, several)
        case _:
            raise RecordError(
                f"{path}: cannot tell what to write; end the name in {' or '.join(SAVE_SUFFIXES)}"
            )
