"""The pictures of many tasks as their hashes, each picture once: what a check for overlap keeps in memory.

A task with a picture takes some 900 bytes; the thumbnail lies in a temporary file. The pictures are dropped.
"""

from __future__ import annotations

import re
import tempfile
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

import numpy as np

from pixelreasoner.core.media import Picture, pictures_of, pixel_digest
from pixelreasoner.core.perceptual_hash import GRID, REGIONS, Hashes, Thumbnail, region_hashes, thumbnail
from pixelreasoner.core.prefetch import prefetch
from pixelreasoner.core.task import Task

THREADS = 4
AHEAD = 8
"""Tasks whose pictures are in memory at a time."""
_THUMB_BYTES = GRID * GRID * 3


class Fingerprint(NamedTuple):
    """What is kept of a picture."""

    digest: str
    """Of its decoded pixels, whatever file they came from."""
    thumb: Thumbnail
    hashes: Hashes | None
    """None of a picture that is flat."""


class _Seen(NamedTuple):
    task: Task
    names: frozenset[str]
    pictures: list[Fingerprint]


class Catalogue:
    """The tasks of one side, in order, and their pictures. Its thumbnails go when its context ends."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.kinds: list[str] = []
        self.questions: list[str] = []
        """Normalised (`plain_text`); empty where there is none."""
        self.names: dict[str, list[int]] = defaultdict(list)
        """Name -> the tasks that have it, by position."""
        self.owners: list[array[int]] = []
        """For each picture, the tasks that show it, by position."""
        self.places: dict[str, int] = {}
        """Digest -> picture."""
        self.flat = 0
        """Pictures that show nothing to tell them by; they are compared pixel for pixel only."""
        self._hashed = array("q")
        """The pictures that have hashes."""
        self._hashes: list[Hashes] = []
        self._thumbs = tempfile.TemporaryFile(prefix="pixelreasoner-overlap-")  # noqa: SIM115 - closed in __exit__

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *exc: object) -> None:
        self._thumbs.close()

    def add_all(self, tasks: Iterable[tuple[Task, frozenset[str]]]) -> None:
        """Add tasks with their names; each is dropped once it has been looked at.

        Raises:
            MediaError, RecordError: one of them cannot be read.
        """
        with (
            ThreadPoolExecutor(THREADS, thread_name_prefix="overlap") as pool,
            closing(prefetch(pool, _look, tasks, ahead=AHEAD)) as looked,
        ):
            for seen in looked:
                self._add(seen)

    def hashes(self) -> tuple[Hashes, array[int]]:
        """The hashes of all pictures that have some, uint64 [n, 16], and which pictures they are of."""
        table = np.stack(self._hashes) if self._hashes else np.empty((0, len(REGIONS)), np.uint64)
        return table, self._hashed

    def thumb(self, picture: int) -> Thumbnail:
        """The thumbnail of a picture."""
        self._thumbs.seek(picture * _THUMB_BYTES)
        return np.frombuffer(self._thumbs.read(_THUMB_BYTES), np.uint8).reshape(GRID, GRID, 3)

    def _add(self, seen: _Seen) -> None:
        position = len(self.ids)
        self.ids.append(seen.task.id)
        self.kinds.append(seen.task.kind)
        self.questions.append(plain_text(seen.task.question))
        for name in seen.names:
            self.names[name].append(position)
        for print_ in seen.pictures:
            place = self.places.setdefault(print_.digest, len(self.owners))
            if place == len(self.owners):
                self._keep(place, print_)
            if position not in self.owners[place][-1:]:
                self.owners[place].append(position)

    def _keep(self, place: int, print_: Fingerprint) -> None:
        self.owners.append(array("q"))
        self._thumbs.seek(place * _THUMB_BYTES)
        self._thumbs.write(print_.thumb.tobytes())
        if print_.hashes is None:
            self.flat += 1
        else:
            self._hashed.append(place)
            self._hashes.append(print_.hashes)


def fingerprint(picture: Picture) -> Fingerprint:
    """What is kept of a picture.

    Raises:
        MediaError: its pixels cannot be had.
    """
    thumb = thumbnail(picture)
    return Fingerprint(pixel_digest(picture.pixels), thumb, region_hashes(thumb))


def plain_text(question: str) -> str:
    """A question without what says nothing: case, punctuation, spaces, tags of media."""
    text = unicodedata.normalize("NFKC", re.sub(r"<(image|video)>", " ", question)).casefold()
    return " ".join(re.findall(r"\w+", text))


def _look(given: tuple[Task, frozenset[str]]) -> _Seen:
    task, names = given
    return _Seen(task, names, [fingerprint(picture) for picture in pictures_of(task.media)])
