"""The data sets there are readers for, and which of them a folder holds."""

from __future__ import annotations

from pathlib import Path

from pixelreasoner.core.errors import RecordError
from pixelreasoner.tasks.datasets import (
    infographicvqa,
    llava_cot,
    pixelreasoner_rl,
    star,
    video_r1,
    visualprobe,
)
from pixelreasoner.tasks.datasets.reader import DatasetReader

READERS: tuple[DatasetReader, ...] = tuple(
    module.READER for module in (pixelreasoner_rl, infographicvqa, video_r1, visualprobe, llava_cot, star)
)


def recognised(place: Path) -> DatasetReader | None:
    """The reader of the data set in a folder or a file, by the columns of its first row; None for none."""
    return next((reader for reader in READERS if reader.fits(place)), None)


def recognise(place: Path) -> DatasetReader:
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
