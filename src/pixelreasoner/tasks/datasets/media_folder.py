"""Any folder of pictures and videos, and of folders of them. Seeds only.

Files are told apart by their suffixes: those of the image formats that are read (of an animation the first
moment counts), and those of common video containers. They come in natural order (`img2` before `img10`), a
folder's own files and folders mixed. What begins with a dot is passed over, links to folders are not
followed, and other files are counted as left out. A seed's id is its path in the folder; there are no
candidates.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pixelreasoner.core.config import Count
from pixelreasoner.core.errors import ConfigError, MediaError, RecordError
from pixelreasoner.core.image_formats import read_suffixes
from pixelreasoner.core.media_io import N_FRAMES, load_image, load_video, natural_order
from pixelreasoner.core.task import Task
from pixelreasoner.tasks.datasets.report import LoadReport, UnusableError
from pixelreasoner.tasks.datasets.seeds import SeedTasks
from pixelreasoner.tasks.source import TaskLabel

IMAGE, VIDEO = "image", "video"
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mkv", ".webm", ".avi", ".mov", ".mpg", ".mpeg", ".wmv", ".flv", ".mts", ".3gp", ".ogv")
)
ROWS = frozenset((".json", ".jsonl", ".parquet", ".tsv", ".csv", ".zip", ".tar"))
"""Suffixes of files that make a folder a data set of some kind, rather than a folder of media."""


@dataclass(frozen=True)
class MediaFolderReader:
    """What tells a folder of media from data sets, and opens it."""

    name: str = "media-folder"
    splits: tuple[str, ...] = ("train",)

    def fits(self, place: Path) -> bool:
        """Whether a folder holds media, and itself no files of rows."""
        try:
            if not place.is_dir() or any(path.suffix.lower() in ROWS for path in place.iterdir()):
                return False
            suffixes = _suffixes()
            return any(Path(name).suffix.lower() in suffixes for name in _files(place))
        except (OSError, RecordError):
            return False  # a folder that cannot be looked into

    def open(self, *, split: str, path: str) -> SeedTasks:
        """As `media_folder`."""
        return media_folder(split=split, path=path)


READER = MediaFolderReader()


def media_folder(*, split: str, path: str = "", n_frames: Count = N_FRAMES) -> SeedTasks:
    """The registered source "media-folder"; its kinds are "image" and "video".

    Args:
        split: any name; the seeds are of it.
        path: the folder.
        n_frames: taken from each video.

    Raises:
        ConfigError: no path is given.
        RecordError: there is no such folder, or neither an image nor a video in it.
    """
    if not path:
        raise ConfigError("media-folder needs a folder; give it: tasks.options.path")
    folder = Path(path)
    if not folder.is_dir():
        raise RecordError(f"{path} is no folder; give the one that the images and videos are in")
    report, names, suffixes = LoadReport(f"{READER.name} ({path})", noun="file"), _Names(), _suffixes()
    kinds = bytearray()
    for name in _files(folder):
        suffix = os.path.splitext(name)[1].lower()
        if suffix not in suffixes:
            report.leave_out(name, UnusableError("neither an image nor a video"))
            continue
        names.add(name)
        kinds.append(suffix in VIDEO_SUFFIXES)
        report.use("")
    if not kinds:
        raise RecordError(f"{path} holds neither images nor videos; give another folder")
    read = _Maker(folder, names, bytes(kinds), split, n_frames)
    labels = [TaskLabel(kind, is_seed=True) for kind in (IMAGE, VIDEO)]
    return SeedTasks((labels[is_video] for is_video in kinds), read, report)


@dataclass(frozen=True)
class _Names:
    """Many names, in little more memory than their characters take."""

    text: bytearray = field(default_factory=bytearray)
    ends: array[int] = field(default_factory=lambda: array("q", [0]))

    def add(self, name: str) -> None:
        self.text.extend(os.fsencode(name))
        self.ends.append(len(self.text))

    def __getitem__(self, at: int) -> str:
        return os.fsdecode(bytes(self.text[self.ends[at] : self.ends[at + 1]]))


@dataclass(frozen=True)
class _Maker:
    """Makes the seeds at some positions. Holds no open file."""

    folder: Path
    names: _Names
    is_video: bytes
    split: str
    n_frames: int

    def __call__(self, positions: Iterable[int]) -> Iterator[Task]:
        for at in positions:
            path = self.folder / self.names[at]
            try:
                item = load_video(path, n_frames=self.n_frames) if self.is_video[at] else load_image(path)
            except MediaError as e:
                raise RecordError(str(e)) from e
            # A name may hold bytes that are no text.
            name = self.names[at].encode(errors="replace").decode()
            yield Task(name, "", (item,), (), kind=VIDEO if self.is_video[at] else IMAGE, split=self.split)


def _suffixes() -> frozenset[str]:
    return read_suffixes() | VIDEO_SUFFIXES


def _files(folder: Path, above: str = "") -> Iterator[str]:
    """The files below a folder, by their paths from it on. Names are in memory folder by folder."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: natural_order(Path(entry.name)))
    except OSError as e:
        raise RecordError(f"the folder {folder} cannot be read ({e.strerror}); check its permissions") from e
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder / entry.name, f"{above}{entry.name}/")
        elif entry.is_file():
            yield above + entry.name
