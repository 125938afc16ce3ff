"""The files of a synthesis run, slot after slot: a kill at any moment loses no slot and doubles none. ::

    trajectories.jsonl            what was made, and media/ beside it
    rejected/trajectories.jsonl   what was turned down, as far as it had come, and its media/
    rejections.jsonl              a line for each task that was turned down, and why
    journal.jsonl                 after each slot, how long the files are

A slot's lines are added to the three files, and then its line to the journal. Whatever a killed writer left
beyond the last whole line of the journal is cut off.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from pixelreasoner.core.files import LineFile, replacing, write_bytes, writing
from pixelreasoner.core.media_refs import MEDIA_FOLDER, digests_of, pictures_in, recover
from pixelreasoner.core.records import MediaFolder, drop_cut_line, record_line
from pixelreasoner.core.rejections import REJECTED_FOLDER, REJECTIONS_FILE
from pixelreasoner.core.run_folder import RunFolder
from pixelreasoner.core.waiting import Waiting
from pixelreasoner.synth.made import Made
from pixelreasoner.synth.rejection import Stage


@dataclass(frozen=True)
class Finished:
    """What a slot adds to the files; its pictures are there already."""

    number: int
    kept: str
    """The line of its trajectory; empty where there is none."""
    rejections: tuple[tuple[dict[str, Any], str], ...]
    """For each rejection its values, and the line of its trajectory or nothing."""


@dataclass(frozen=True)
class _Entry:
    """A line of the journal: how long the files are after a slot."""

    slots: int = 0
    made: int = 0
    """Trajectories so far."""
    rejected: int = 0
    """Tasks that were rejected so far."""
    recorded: int = 0
    """Of those, the ones of which there is a trajectory."""
    lengths: tuple[int, int, int] = (0, 0, 0)
    """Bytes of the trajectories, of the rejected ones, of the rejections."""

    @classmethod
    def parse(cls, line: bytes) -> _Entry | None:
        """An entry from its line; None of a line that is not whole."""
        try:
            values: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
            a, b, c = values["lengths"]
            return cls(values["slots"], values["made"], values["rejected"], values["recorded"], (a, b, c))
        except (ValueError, KeyError, TypeError):
            return None

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def finished(made: Made, folder: Path) -> Finished:
    """The lines of a slot; its pictures are written into the folder of the run.

    Raises:
        MediaError: a picture cannot be written.
    """
    kept, rejected = (MediaFolder(place / MEDIA_FOLDER) for place in (folder, folder / REJECTED_FOLDER))
    rejections = tuple(
        (r.row(), "" if r.trajectory is None else record_line(r.trajectory, rejected).decode().rstrip("\n"))
        for r in made.rejections
    )
    line = "" if made.trajectory is None else record_line(made.trajectory, kept).decode().rstrip("\n")
    return Finished(made.number, line, rejections)


def write_finished(path: Path, slot: Finished) -> None:
    """Write a slot that waits for its turn; a power cut may lose it.

    Raises:
        RecordError: it cannot be written.
    """
    with replacing(path, one_of_many=True) as file, writing(path):
        file.write(json.dumps(asdict(slot)).encode())


def read_finished(path: Path) -> Finished:
    """What `write_finished` wrote.

    Raises:
        ValueError: the file is not whole.
    """
    values = json.loads(path.read_bytes())
    return Finished(
        values["number"], values["kept"], tuple((row, line) for row, line in values["rejections"])
    )


class Journal:
    """Writes the files of a run in the order of the slots; the caller holds the folder's lock."""

    def __init__(self, folder: RunFolder) -> None:
        """Put the files in order, as a killed run left them, and open them.

        Raises:
            RecordError: the place cannot be written to.
        """
        self._paths = (
            folder.trajectories,
            folder.path / REJECTED_FOLDER / folder.trajectories.name,
            folder.path / REJECTIONS_FILE,
        )
        self._journal = folder.journal
        self._adopt()
        with writing(folder.path):
            for path in (*self._paths, self._journal):
                path.parent.mkdir(exist_ok=True)
                path.touch()
            self._entry = self._recovered(folder.waiting)
        self.waiting: Waiting[Finished] = Waiting(
            folder.waiting, done=self.slots, write=write_finished, read=read_finished
        )
        """The slots that are done before an earlier one."""
        self._open = ExitStack()
        self._files = [self._open.enter_context(LineFile.open(path)) for path in self._paths]
        self._log = self._open.enter_context(LineFile.open(self._journal))

    @property
    def slots(self) -> int:
        """Slots that are in their place, filled or not."""
        return self._entry.slots

    @property
    def done(self) -> int:
        """Slots that are made: those in their place, and those that wait."""
        return self.slots + len(self.waiting)

    @property
    def rejections(self) -> int:
        """Tasks that were rejected, of the slots in their place."""
        return self._entry.rejected

    def rejected(self) -> Counter[Stage]:
        """Tasks that were rejected, of the slots that are made, by the stage that turned them down."""
        with self._paths[2].open("rb") as file:
            stages = Counter[Stage](json.loads(line)["stage"] for line in file)
        for number in self.waiting:
            stages.update(row["stage"] for row, _ in self.waiting.get(number).rejections)
        return stages

    def put(self, slot: Finished) -> None:
        """Write a slot to its place, and those after it that waited for it; or let it wait.

        Raises:
            RecordError: the place cannot be written to.
        """
        if slot.number != self.slots:
            self.waiting.put(slot.number, slot)
            return
        self._add(slot)
        self.catch_up()

    def catch_up(self) -> None:
        """Write the waiting slots whose turn it is.

        Raises:
            RecordError: the place cannot be written to.
        """
        while (number := self.slots) in self.waiting:
            self._add(self.waiting.get(number))
            self.waiting.drop(number)

    def close(self) -> None:
        """Bring everything to the disk, and close the files.

        Raises:
            RecordError: the system cannot.
        """
        with self._open:
            for file in (*self._files, self._log):
                file.sync()

    def _add(self, slot: Finished) -> None:
        """Write the next slot; after an error nothing of it counts."""
        before, rows, records = self._entry, list[bytes](), list[bytes]()
        for row, line in slot.rejections:
            place = {"trajectory": before.recorded + len(records)} if line else {}
            rows.append(json.dumps({"slot": slot.number, **row, **place}).encode() + b"\n")
            records += [line.encode() + b"\n"] if line else []
        kept = slot.kept.encode() + b"\n" if slot.kept else b""
        parts = (kept, b"".join(records), b"".join(rows))
        for file, part in zip(self._files, parts, strict=True):
            if part:
                file.append(part)
        a, b, c = (length + len(part) for length, part in zip(before.lengths, parts, strict=True))
        entry = _Entry(
            before.slots + 1,
            before.made + bool(kept),
            before.rejected + len(rows),
            before.recorded + len(records),
            (a, b, c),
        )
        self._log.append(entry.line())
        self._entry = entry

    def _adopt(self) -> None:
        """Write the journal of a run of an earlier version, whose lines are its slots, one by one."""
        trajectories, _, rejections = self._paths
        if self._journal.exists() or rejections.exists() or not trajectories.exists():
            return
        drop_cut_line(trajectories)
        length, entries = 0, list[bytes]()
        with trajectories.open("rb") as file:
            for n, line in enumerate(file, start=1):
                length += len(line)
                entries.append(_Entry(n, n, lengths=(length, 0, 0)).line())
        write_bytes(self._journal, b"".join(entries))

    def _recovered(self, waiting: Path) -> _Entry:
        """Cut the files to the last slot that is whole, its pictures included; remove what nobody names."""
        used = [_waiting_pictures(waiting, path.parent, at) for at, path in enumerate(self._paths[:2])]
        while True:
            entry = self._cut()
            for path, digests in zip(self._paths[:2], used, strict=True):
                recover(path, digests)
            if all(path.stat().st_size == n for path, n in zip(self._paths, entry.lengths, strict=True)):
                return entry

    def _cut(self) -> _Entry:
        """Cut all files to the last entry of the journal that they are long enough for."""
        last, end, whole = _Entry(), 0, 0
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in self._paths]
            for line in stack.enter_context(self._journal.open("rb")):
                whole += len(line)
                entry = _Entry.parse(line)
                if entry is None or not all(map(_line_ends_at, files, entry.lengths)):
                    break
                last, end = entry, whole
        for path, length in zip((*self._paths, self._journal), (*last.lengths, end), strict=True):
            os.truncate(path, length)
        return last


def _line_ends_at(file: IO[bytes], length: int) -> bool:
    """Whether a file is as long as that, and a line ends there."""
    if length == 0:
        return True
    file.seek(length - 1)
    return file.read(1) == b"\n"


def _waiting_pictures(waiting: Path, folder: Path, part: int) -> set[str]:
    """The pictures in `folder/media` that waiting slots name; one that names an empty picture is removed.

    Args:
        waiting: the folder where they wait.
        folder: of the trajectories that were made (`part` 0), or of those that were rejected (1).
        part: which lines of the slots name them.
    """
    pictures = pictures_in(folder / MEDIA_FOLDER)
    empty = {digest for digest, path in pictures.items() if path.stat().st_size == 0}
    used: set[str] = set()
    for path in sorted(waiting.glob("*.jsonl")):
        try:
            slot = read_finished(path)
        except (ValueError, KeyError, TypeError):  # after a power cut
            path.unlink()
            continue
        lines = [slot.kept] if part == 0 else [line for _, line in slot.rejections]
        digests = digests_of("".join(lines).encode())
        if digests.isdisjoint(empty):
            used |= digests
        else:
            path.unlink()
    return used


def filled(folder: RunFolder) -> Iterator[bool]:
    """Of each slot in its place, whether it has a trajectory."""
    made = 0
    with folder.journal.open("rb") as file:
        for line in file:
            if (entry := _Entry.parse(line)) is not None:
                yield entry.made > made
                made = entry.made
