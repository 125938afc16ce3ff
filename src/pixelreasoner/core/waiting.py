"""Results that are done before an earlier one, kept on disk until it is their turn.

Records are written in the order of their numbers, and servers answer in another. A result that waits is a
file, named by its number; pictures that it names may lie beside it::

    waiting/000012.jsonl
    waiting/media/...
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from pixelreasoner.core.files import remove_left, writing
from pixelreasoner.core.media_refs import MEDIA_FOLDER

T = TypeVar("T")
_NAME = re.compile(r"(\d{6,})\.jsonl")


class Waiting(Generic[T]):
    """Results by their numbers; those of an earlier process are there too."""

    def __init__(
        self, folder: Path, *, done: int, write: Callable[[Path, T], None], read: Callable[[Path], T]
    ) -> None:
        """The results that wait in a folder.

        Args:
            folder: made when the first one is put there.
            done: those before this number are on record elsewhere.
            write: writes the file of a result, whole or not at all.
            read: what `write` wrote.
        """
        self._folder, self._write, self._read = folder, write, read
        self._numbers = {number for number in self._listed() if number >= done}
        for place in (folder, folder / MEDIA_FOLDER):
            remove_left(place)

    def __contains__(self, number: int) -> bool:
        return number in self._numbers

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._numbers))

    def __len__(self) -> int:
        return len(self._numbers)

    def put(self, number: int, result: T) -> None:
        """Keep a result.

        Raises:
            PixelReasonerError: it cannot be written.
        """
        self._write(self.path(number), result)
        self._numbers.add(number)

    def get(self, number: int) -> T:
        """A result that waits.

        Raises:
            RecordError: its file is damaged.
        """
        return self._read(self.path(number))

    def drop(self, number: int) -> None:
        """Forget a result that has been written to its place; pictures stay until `clear`."""
        self._numbers.discard(number)
        with writing(self.path(number)):
            self.path(number).unlink(missing_ok=True)

    def path(self, number: int) -> Path:
        """The file of a result."""
        return self._folder / f"{number:06}.jsonl"

    def _listed(self) -> list[int]:
        paths = self._folder.iterdir() if self._folder.is_dir() else ()
        return [int(match[1]) for path in paths if (match := _NAME.fullmatch(path.name))]


def clear(folder: Path) -> None:
    """Remove the folder: nothing waits any more.

    Raises:
        RecordError: the system refuses it.
    """
    if folder.exists():
        with writing(folder):
            shutil.rmtree(folder)
