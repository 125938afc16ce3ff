"""Rollouts that are done before an earlier one, kept on disk until it is their turn.

Records are written in the order of the tasks, and a served model answers in another. A rollout that waits is
a file of one record, named by its number, with its pictures beside it::

    waiting/000012.jsonl
    waiting/media/...
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from pixelreasoner.core.files import remove_left, writing
from pixelreasoner.core.media_refs import MEDIA_FOLDER
from pixelreasoner.core.records import read_trajectories, write_trajectories
from pixelreasoner.core.trajectory import Trajectory

_NAME = re.compile(r"(\d{6,})\.jsonl")


class Waiting:
    """Rollouts by their numbers; those of an earlier process are there too."""

    def __init__(self, folder: Path, *, done: int) -> None:
        """The rollouts that wait in a folder; those before number `done` are on record elsewhere."""
        self._folder = folder
        found = [match for path in _listed(folder) if (match := _NAME.fullmatch(path.name))]
        self._numbers = {number for match in found if (number := int(match[1])) >= done}
        for place in (folder, folder / MEDIA_FOLDER):
            remove_left(place)

    def __contains__(self, number: int) -> bool:
        return number in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def put(self, number: int, trajectory: Trajectory) -> None:
        """Keep a rollout.

        Raises:
            RecordError: the place cannot be written to.
            MediaError: a picture cannot be written.
        """
        write_trajectories(self._path(number), [trajectory])
        self._numbers.add(number)

    def get(self, number: int) -> Trajectory:
        """A rollout that waits.

        Raises:
            RecordError: its file is damaged.
        """
        (trajectory,) = read_trajectories(self._path(number))
        return trajectory

    def drop(self, number: int) -> None:
        """Forget a rollout that has been written to its place; its pictures stay until `clear`."""
        self._numbers.discard(number)
        with writing(self._path(number)):
            self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}.jsonl"


def clear(folder: Path) -> None:
    """Remove the folder: nothing waits any more.

    Raises:
        RecordError: the system refuses it.
    """
    if folder.exists():
        with writing(folder):
            shutil.rmtree(folder)


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
