"""Where the pictures of SA-1B lie: archives `sa_000000.tar` as they are released, or folders.

Each holds `sa_N.jpg` and `sa_N.json`. A member of an archive is read where it lies; nothing is unpacked. The
places in an archive are found once (`index_cache`). In memory a shard is a path; the indexes of the shards in
use are kept, forty bytes for a picture.
"""

from __future__ import annotations

import os
import re
import tarfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import decode_image, load_image, natural_order
from pixelreasoner.tasks.datasets.index_cache import Arrays, kept

SHARDS_IN_MEMORY = 16
"""Indexes that are kept at a time."""
_NAME = re.compile(r"sa_([0-9]{1,18})\.(jpg|json)")
_ARCHIVE = re.compile(r"sa_.*\.tar")
Table = npt.NDArray[np.int64]


class ShardIndex(NamedTuple):
    """What a shard holds."""

    entries: Table
    """int64 [N, 1] in a folder, [N, 5] in an archive: the number N of `sa_N`, ascending; where the picture
    begins, in bytes, and its length; the same of its annotations."""
    no_annotations: Table
    """Numbers of the pictures without annotations."""
    no_picture: Table
    """Numbers of the annotations without a picture."""


@dataclass(frozen=True)
class TarShard:
    """An archive."""

    path: Path

    def index(self) -> ShardIndex:
        """Where everything lies.

        Raises:
            RecordError: the archive is damaged, or cut off.
        """
        found = kept(self.path, "sa-1b/1", self._find)
        return ShardIndex(found["entries"], found["no_annotations"], found["no_picture"])

    def picture(self, entry: Table) -> Picture:
        """The picture of an entry, decoded.

        Raises:
            MediaError, RecordError: it is damaged.
        """
        return decode_image(self._read(entry[1], entry[2]), f"sa_{entry[0]}.jpg in {self.path}")

    def annotations(self, entry: Table) -> bytes:
        """The annotations of an entry.

        Raises:
            RecordError: the archive cannot be read.
        """
        return self._read(entry[3], entry[4])

    def _read(self, start: int, n_bytes: int) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                content = file.read(n_bytes)
        except OSError as e:
            raise RecordError(f"{self.path} cannot be read ({e.strerror}); check the path") from e
        if len(content) < n_bytes:
            raise RecordError(f"{self.path} was changed after it was first read; restore it")
        return content

    def _find(self) -> Arrays:
        found = {"jpg": array("q"), "json": array("q")}
        try:
            with tarfile.open(self.path, "r:") as archive:
                while (member := archive.next()) is not None:
                    cast(Any, archive).members.clear()  # it would keep every one
                    name = _NAME.fullmatch(PurePosixPath(member.name).name)
                    if name is not None and member.isreg():
                        found[name[2]].extend((int(name[1]), member.offset_data, member.size))
        except (tarfile.TarError, OSError, EOFError) as e:
            raise RecordError(f"{self.path} is no whole tar archive ({e}); fetch it again") from e
        return _paired(
            *(np.array(found[kind], np.int64).reshape(-1, 3) for kind in ("jpg", "json"))
        )._asdict()


@dataclass(frozen=True)
class FolderShard:
    """A folder; those in it are shards of their own."""

    path: Path

    def index(self) -> ShardIndex:
        """Which pictures there are.

        Raises:
            RecordError: the folder cannot be read.
        """
        found = {"jpg": array("q"), "json": array("q")}
        for entry in _entries(self.path):
            if name := _NAME.fullmatch(entry.name):
                found[name[2]].append(int(name[1]))
        return _paired(*(np.array(found[kind], np.int64).reshape(-1, 1) for kind in ("jpg", "json")))

    def picture(self, entry: Table) -> Picture:
        """As `TarShard.picture`."""
        return load_image(self.path / f"sa_{entry[0]}.jpg")

    def annotations(self, entry: Table) -> bytes:
        """As `TarShard.annotations`."""
        path = self.path / f"sa_{entry[0]}.json"
        try:
            return path.read_bytes()
        except OSError as e:
            raise RecordError(f"{path} cannot be read ({e.strerror}); restore it") from e


Shard = TarShard | FolderShard


@lru_cache(maxsize=SHARDS_IN_MEMORY)
def index_of(shard: Shard) -> ShardIndex:
    """The index of a shard, kept while it is in use."""
    return shard.index()


def find_shards(place: Path) -> Iterator[Shard]:
    """The shards in a folder and all folders in it, in natural order; or one archive.

    Raises:
        RecordError: a folder cannot be read.
    """
    if place.is_file():
        yield TarShard(place)
        return
    archives: list[Path] = []
    folders: list[Path] = []
    loose = False
    for entry in _entries(place):
        if entry.is_dir(follow_symlinks=False):
            folders.append(Path(entry.path))
        elif _ARCHIVE.fullmatch(entry.name):
            archives.append(Path(entry.path))
        else:
            loose = loose or _NAME.fullmatch(entry.name) is not None
    if loose:
        yield FolderShard(place)
    yield from (TarShard(path) for path in sorted(archives, key=natural_order))
    for folder in sorted(folders, key=natural_order):
        yield from find_shards(folder)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, one at a time: there may be millions."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as e:
        raise RecordError(f"the folder {folder} cannot be read ({e.strerror}); check its permissions") from e


def _paired(pictures: Table, annotations: Table) -> ShardIndex:
    """Pictures with their annotations, by number: tables whose first column is the number."""
    both, at_picture, at_annotations = np.intersect1d(pictures[:, 0], annotations[:, 0], return_indices=True)
    return ShardIndex(
        np.column_stack([both, pictures[at_picture, 1:], annotations[at_annotations, 1:]]),
        np.setdiff1d(pictures[:, 0], both),
        np.setdiff1d(annotations[:, 0], both),
    )
