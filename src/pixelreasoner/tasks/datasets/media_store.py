"""Where the pictures of a data set are: files in its folder, or members of the archives that lie there.

Data sets come from the hub with their pictures packed (`images.zip`). A picture is read out of its archive
when its task is taken; nothing has to be unpacked but videos, whose decoder reads files.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, cast

from pixelreasoner.core.errors import RecordError
from pixelreasoner.tasks.datasets.report import UnusableError

MISSING = "a file of an image or a video is missing"
EMBEDDED = {"embedded": True}
"""Stands for a picture whose content is in the table, while only its row is looked at."""


class Member(NamedTuple):
    """A file in an archive."""

    archive: Path
    name: str


class MediaStore:
    """Finds files by the names that the rows of a data set give them. Holds no open file."""

    def __init__(self, folder: Path, inner: Sequence[str] = ()) -> None:
        """The files under a folder.

        Args:
            folder: names are relative to it.
            inner: folders within it that names may be relative to, too.
        """
        self.folder, self._inner = folder, tuple(inner)

    def check(self, fields: Mapping[str, Any]) -> None:
        """Check that every file a row names is there; none is read.

        Raises:
            UnusableError: one is not, or a video is packed.
        """
        with_media(fields, self._check)

    def filled(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A row with the content of packed pictures in place of their names.

        Raises:
            RecordError: an archive cannot be read.
        """
        return with_media(fields, self._content)

    def _check(self, name: str, is_video: bool) -> object:
        found = self._find(name)
        if found is None:
            raise UnusableError(MISSING, name)
        if is_video and isinstance(found, Member):
            raise UnusableError("a video is packed; unpack its archive", f"{name} in {found.archive.name}")
        return name

    def _content(self, name: str, is_video: bool) -> object:
        found = self._find(name)
        if isinstance(found, Member):
            return {"bytes": _read(found)}
        return name if found is None else found

    def _find(self, name: str) -> str | Member | None:
        for inner in ("", *self._inner) if name else ():
            if os.path.exists(self.folder / inner / name):
                return os.path.join(inner, name)
        parts = PurePosixPath(name).parts
        for names in (parts, parts[1:]):
            # Archives hold their folder's name, or not.
            if names and (archive := self._members.get("/".join(names))) is not None:
                return Member(archive[0], archive[1])
        return None

    @cached_property
    def _members(self) -> dict[str, tuple[Path, str]]:
        """What the archives of the folder hold, by name from the archive's folder on."""
        found: dict[str, tuple[Path, str]] = {}
        for path in sorted([*self.folder.glob("*.zip"), *self.folder.glob("*/*.zip")]):
            above = path.parent.relative_to(self.folder).as_posix()
            for name in _archive(path, os.getpid()).namelist():
                if not name.endswith("/"):
                    found[name if above == "." else f"{above}/{name}"] = path, name
        return found

    def __getstate__(self) -> dict[str, Any]:
        # The list of members is long, and is made again where it is needed.
        return {"folder": self.folder, "_inner": self._inner}


def with_media(fields: Mapping[str, Any], of: Callable[[str, bool], object]) -> dict[str, Any]:
    """A row (`tasks.rows`) with something else in place of each name of a file.

    Args:
        fields: `images` a list, `video` a name, a list of frames, or a part `{path, ...}`.
        of: from a name, and whether it is a video's, to what takes its place.
    """
    out = dict(fields)
    if images := fields.get("images"):
        out["images"] = [of(v, False) if isinstance(v, str) else v for v in cast(list[object], images)]
    video = fields.get("video")
    if isinstance(video, str):
        out["video"] = of(video, True)
    elif isinstance(video, Mapping) and isinstance(name := cast(Mapping[str, Any], video).get("path"), str):
        out["video"] = {**cast(Mapping[str, Any], video), "path": of(name, True)}
    elif isinstance(video, list):
        out["video"] = [of(v, False) if isinstance(v, str) else v for v in cast(list[object], video)]
    return out


@lru_cache(maxsize=64)
def _archive(path: Path, process: int) -> zipfile.ZipFile:
    """An archive, opened once in each process: two would move one place in the file."""
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as e:
        raise RecordError(f"{path} cannot be read ({e}); fetch it again") from e


def _read(member: Member) -> bytes:
    try:
        return _archive(member.archive, os.getpid()).read(member.name)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as e:
        raise RecordError(f"{member.name} in {member.archive} cannot be read ({e}); fetch it again") from e
