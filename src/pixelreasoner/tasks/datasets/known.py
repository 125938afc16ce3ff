"""The data sets there are readers for, and which of them a folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pixelreasoner.core.errors import RecordError
from pixelreasoner.tasks.datasets import (
    fineweb_visa,
    infographicvqa,
    llava_cot,
    media_folder,
    pixelreasoner_rl,
    sa_1b,
    star,
    video_r1,
    visualprobe,
)
from pixelreasoner.tasks.source import IndexedTasks


class KnownSet(Protocol):
    """A kind of data set that is told by what lies in its folder."""

    @property
    def name(self) -> str:
        """As a registered task source."""
        ...

    @property
    def splits(self) -> tuple[str, ...]: ...

    def fits(self, place: Path) -> bool:
        """Whether a folder, or a file, holds such a data set."""
        ...

    def open(self, *, split: str, path: str) -> IndexedTasks:
        """Its tasks."""
        ...


READERS: tuple[KnownSet, ...] = (
    pixelreasoner_rl.READER,
    infographicvqa.READER,
    fineweb_visa.READER,
    video_r1.READER,
    visualprobe.READER,
    llava_cot.READER,
    star.READER,
    sa_1b.READER,
    media_folder.READER,
)
"""The first that fits counts."""


def recognised(place: Path) -> KnownSet | None:
    """What reads the data set in a folder or a file; None where it is none that is known.

    Rows are told by the columns of the first, SA-1B by the names of its files, and a folder of images and
    videos by having no files of rows.
    """
    return next((reader for reader in READERS if reader.fits(place)), None)


def recognise(place: Path) -> KnownSet:
    """As `recognised`.

    Raises:
        RecordError: it is none of those that are known.
    """
    found = recognised(place)
    if found is None:
        names = ", ".join(reader.name for reader in READERS)
        raise RecordError(
            f"{place} holds no data set that is known here ({names}); write a task file "
            f"(docs/bring-your-own.md), or name the columns of yours (tasks.options.columns)"
        )
    return found
