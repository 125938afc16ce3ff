"""The scored rollouts of a run, step after step, in files of bounded size and within a byte budget::

    rollouts/step-000001.jsonl              steps 1 to 37
    rollouts/step-000038.jsonl              steps 38 and later
    rollouts/media/                         the pictures of all of them
    rollouts/nonfinite-step-000052.jsonl    the batch of a step that could not be learned from

The files are those of `core.records`, whole steps each. Each record carries its step, reward terms, reward
and advantage as `metrics`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.media_refs import MEDIA_FOLDER, digests_in
from pixelreasoner.core.records import write_trajectories
from pixelreasoner.core.run_folder import numbered, step_name
from pixelreasoner.core.trajectory import Trajectory

STEP_METRIC = "step"
"""The metric of a recorded trajectory that says which step rolled it out, counted from 1."""
SUFFIX = ".jsonl"
FILES_IN_BUDGET = 8
"""A file is full at this part of the budget, so that going over it costs an eighth of what is kept."""


class RolloutLogConfig(Config):
    """How much of the rollouts a run keeps on disk."""

    enabled: bool = True
    """Whether rollouts are kept."""
    max_bytes: int = Field(default=2 * 2**30, ge=1, le=2**60)
    """Of the folder, pictures included. The oldest file goes first; the newest always stays."""


@dataclass
class _LogFile:
    path: Path
    n_bytes: int
    digests: set[str]
    """The pictures it refers to."""


class RolloutLog:
    """Appends the rollouts of each step; what a killed run leaves is whole lines.

    Which file a step goes to, and which files are removed, follows from the files alone: a run that is
    resumed leaves the same ones as a run that was never interrupted.
    """

    def __init__(self, folder: Path, config: RolloutLogConfig) -> None:
        """A log in `folder`; nothing is read or written before `resume` or `add`."""
        self.folder, self.config = folder, config
        self._files: list[_LogFile] = []
        self._pictures: dict[str, int] = {}
        """Bytes of each picture on disk, by its digest."""
        self._writing: Future[None] | None = None

    def resume(self, step: int) -> None:
        """Drop what was written after `step`, and the pictures that nobody refers to.

        Raises:
            RecordError: a file holds a line that is no record of a step.
        """
        for first, path in reversed(list(step_files(self.folder).items())):
            if first > step:
                path.unlink()
                continue
            _truncate_after(path, step)
            break  # the files before hold earlier steps only
        self._files = [
            _LogFile(path, path.stat().st_size, digests_in(path)) for path in step_files(self.folder).values()
        ]
        self._pictures = {}
        self._remove_pictures(set(self._new_pictures()))

    def add(self, step: int, trajectories: Iterable[Trajectory]) -> None:
        """Append the rollouts of a step, in a thread: the update need not wait for pictures to be packed.

        Raises:
            MediaError: a picture of the step before could not be written.
        """
        self.flush()
        if self.config.enabled:
            pool = ThreadPoolExecutor(1, thread_name_prefix="rollouts")
            self._writing = pool.submit(self._append, step, list(trajectories))
            pool.shutdown(wait=False)  # the thread ends with its work

    def flush(self) -> None:
        """Wait until everything added is on disk.

        Raises:
            MediaError: a picture cannot be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _append(self, step: int, trajectories: Sequence[Trajectory]) -> None:
        """Write the rollouts of a step, then remove the oldest files where the budget is exceeded."""
        if not self._files or self._weight(self._files[-1]) >= self.config.max_bytes // FILES_IN_BUDGET:
            path = self.folder / f"{step_name(step)}{SUFFIX}"
            self._files.append(_LogFile(path, 0, set()))
        file = self._files[-1]
        write_trajectories(file.path, trajectories, append=True)
        file.digests |= digests_in(file.path, start=file.n_bytes)
        file.n_bytes = file.path.stat().st_size
        self._new_pictures()
        while len(self._files) > 1 and self.n_bytes > self.config.max_bytes:
            oldest = self._files.pop(0)
            oldest.path.unlink()
            self._remove_pictures(oldest.digests)

    @property
    def n_bytes(self) -> int:
        """Of all files and pictures."""
        return sum(file.n_bytes for file in self._files) + sum(self._pictures.values())

    def _weight(self, file: _LogFile) -> int:
        """Bytes of a file and of all pictures it refers to, whoever else does."""
        return file.n_bytes + sum(self._pictures.get(digest, 0) for digest in file.digests)

    def _new_pictures(self) -> list[str]:
        """Take in the pictures that were not there when last looked."""
        media = self.folder / MEDIA_FOLDER
        if not media.is_dir():
            return []
        with os.scandir(media) as entries:
            new = {e.name: e.stat().st_size for e in entries if _stem(e.name) not in self._pictures}
        self._pictures |= {_stem(name): size for name, size in new.items()}
        return [_stem(name) for name in new]

    def _remove_pictures(self, candidates: set[str]) -> None:
        """Remove those of the pictures that no file refers to any more."""
        gone = candidates.difference(*(file.digests for file in self._files))
        own = {file.path for file in self._files}
        if gone:
            others = (path for path in self.folder.glob(f"*{SUFFIX}") if path not in own)
            gone = gone.difference(*(digests_in(path) for path in others))
        for path in (self.folder / MEDIA_FOLDER).iterdir() if gone else ():
            if _stem(path.name) in gone:
                path.unlink()
        for digest in gone:
            self._pictures.pop(digest, None)


def step_files(folder: Path) -> dict[int, Path]:
    """The files of a log by their first step, in order."""
    return numbered(folder, suffix=SUFFIX)


def save_batch(folder: Path, step: int, trajectories: Iterable[Trajectory]) -> Path:
    """Write the batch of a step that could not be learned from; returns its file.

    Raises:
        MediaError: a picture cannot be written.
    """
    path = batch_file(folder, step)
    write_trajectories(path, trajectories)
    return path


def batch_file(folder: Path, step: int) -> Path:
    """Where `save_batch` writes to."""
    return folder / f"nonfinite-{step_name(step)}{SUFFIX}"


def step_of(line: bytes, path: Path) -> int:
    """The step of a record.

    Raises:
        RecordError: the line is no record of a step; the file is named.
    """
    try:
        return int(json.loads(line)["metrics"][STEP_METRIC])
    except (ValueError, KeyError, TypeError) as e:
        raise RecordError(f"{path} holds a line that is no record of a step; move the file away") from e


def _truncate_after(path: Path, step: int) -> None:
    """Cut a file before the first line of a later step, or before a line that its writer was killed in."""
    kept = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n") or step_of(line, path) > step:
                break
            kept += len(line)
    if kept:
        os.truncate(path, kept)
    else:
        path.unlink()


def _stem(name: str) -> str:
    """The digest in the name of a picture's file; of one left half written, what nobody refers to."""
    return name if name.startswith(".") else name.partition(".")[0]
