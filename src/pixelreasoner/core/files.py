"""The one way in which this package writes files.

A file that is replaced is written beside its place, brought to the disk, and renamed: a kill or a power cut
leaves the old one or the new one. What a killed writer leaves beside it (`.NAME.<32 hex>.part`) is removed by
the next writer of that name, or when the folder's run starts. A file of lines is appended to, line by line; a
line that does not fit on the disk is taken back.

What the system refuses (no space, no permission) becomes a `PixelReasonerError` that names the place.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pixelreasoner.core.errors import PixelReasonerError, RecordError
from pixelreasoner.core.locks import Lock, try_lock

_LEFT = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.(?P<kind>part|old)")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_RUST = re.compile(r"\(os error (\d+)\)")
"""How safetensors and tokenizers, which raise no OSError, name what the system said."""


@contextmanager
def writing(path: Path, kind: type[PixelReasonerError] = RecordError) -> Generator[None]:
    """Around code that does nothing but write to a place: what the system refuses becomes a `kind`.

    Raises:
        PixelReasonerError: of class `kind`; the message names the place, the reason and the remedy.
    """
    try:
        yield
    except PixelReasonerError:
        raise
    except Exception as e:
        if (refused := _refused(e)) is None:
            raise
        raise kind(_message(path, refused)) from e


@contextmanager
def replacing(
    path: Path, kind: type[PixelReasonerError] = RecordError, *, one_of_many: bool = False
) -> Generator[IO[bytes]]:
    """A file that takes the place of `path` when the block is left, whole; not at all on an error.

    Args:
        path: its folder is made when missing.
        kind: of the errors of opening and renaming. Writing is the block's, see `writing`.
        one_of_many: in a folder that may hold thousands, whose owner clears it of what killed writers left.
            Such a file is not forced to the disk: a power cut may lose it, a kill does not.

    Raises:
        PixelReasonerError: of class `kind`; the place cannot be written to.
    """
    with writing(path, kind):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not one_of_many:
            remove_left(path.parent, path.name)
        part = left_name(path)
        file = part.open("wb")
    try:
        try_lock(file.fileno())  # while it is held, nobody takes the file for a dead writer's
        yield file
        with writing(path, kind):
            file.flush()
            if not one_of_many:
                os.fsync(file.fileno())
            os.replace(part, path)
    finally:
        with suppress(OSError):  # what a full disk did not take is tried again, and is of no use any more
            file.close()
        part.unlink(missing_ok=True)
    if not one_of_many:
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes, kind: type[PixelReasonerError] = RecordError) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one, never a torn one.

    Raises:
        PixelReasonerError: of class `kind`; the place cannot be written to.
    """
    with replacing(path, kind) as file, writing(path, kind):
        file.write(content)


def write_text(path: Path, text: str, kind: type[PixelReasonerError] = RecordError) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode(), kind)


def check_writable(path: Path) -> None:
    """Try whether a file could be written, before long work for it begins; its folder is made.

    Raises:
        RecordError: it could not.
    """
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        trial = left_name(path)
        try:
            trial.touch()
        finally:
            trial.unlink(missing_ok=True)


def check_outputs(files: Mapping[str, Path | None]) -> None:
    """Try whether each of some files could be written, as `check_writable`; None is one that nobody wants.

    Args:
        files: by the option that names them.

    Raises:
        RecordError: one could not, or two are the same file, which would hold the last one alone.
    """
    wanted = {option: path for option, path in files.items() if path is not None}
    places: dict[Path, str] = {}
    for option, path in wanted.items():
        if (other := places.setdefault(path.resolve(), option)) != option:
            raise RecordError(f"{other} and {option} are both {path}; give each a file of its own")
        check_writable(path)


@dataclass
class LineFile:
    """A file of lines, open for appending."""

    path: Path
    kind: type[PixelReasonerError]
    _file: IO[bytes]

    @classmethod
    def open(cls, path: Path, kind: type[PixelReasonerError] = RecordError) -> LineFile:
        """Open or make the file, and its folder.

        Raises:
            PixelReasonerError: of class `kind`; the place cannot be written to.
        """
        with writing(path, kind):
            path.parent.mkdir(parents=True, exist_ok=True)
            return cls(path, kind, path.open("ab", buffering=0))

    def append(self, line: bytes) -> None:
        """Add a line, given with its end. One that cannot be written whole is taken back.

        Raises:
            PixelReasonerError: of class `kind`; the disk is full, say.
        """
        descriptor = self._file.fileno()
        with writing(self.path, self.kind):
            before = os.fstat(descriptor).st_size
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise

    def sync(self) -> None:
        """Bring everything to the disk, where a power cut leaves it.

        Raises:
            PixelReasonerError: of class `kind`; the system cannot.
        """
        with writing(self.path, self.kind):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def count_lines(path: Path) -> int:
    """The lines of a file that end; 0 where there is no file."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def left_name(path: Path, kind: str = "part") -> Path:
    """A new name beside `path`, by which `remove_left` finds what a killed writer left."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.{kind}")


def remove_left(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers left in a folder, of one file or of all; what is being written stays.

    Of a folder that was renamed away and never replaced, the name is given back.
    """
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        found = [(Path(e.path), match) for e in entries if (match := _LEFT.fullmatch(e.name))]
        for path, match in found:
            if name not in (None, match["name"]):
                continue
            if not path.is_dir():
                _remove_unlocked(path)
            elif match["kind"] == "old" and not (folder / match["name"]).exists():
                path.rename(folder / match["name"])
            else:
                shutil.rmtree(path, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it: its name is gone at once, whenever a kill comes."""
    hidden = left_name(folder)
    folder.rename(hidden)
    shutil.rmtree(hidden)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_files(folder: Path) -> None:
    """Bring the files of a folder and below it to the disk.

    Raises:
        OSError: the system cannot.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def _remove_unlocked(path: Path) -> None:
    with suppress(OSError), path.open("rb") as file:
        if try_lock(file.fileno()) is not Lock.TAKEN:
            path.unlink()


def _refused(error: BaseException) -> OSError | None:
    """What the system said: the error, one it was raised from or after, or a number in its text."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError):
            return chain
        if number := _RUST.search(str(chain)):
            return OSError(int(number[1]), os.strerror(int(number[1])))
        chain = chain.__cause__ or chain.__context__
    return None


def _message(path: Path, refused: OSError) -> str:
    if refused.errno in _FULL:
        return (
            f"{path} cannot be written: the disk is full ({refused.strerror}). What was written before is "
            f"whole; free some space, and give the same command again (a recipe's with --resume)"
        )
    return f"{path} cannot be written ({refused.strerror or refused}); choose another place, or free this one"
