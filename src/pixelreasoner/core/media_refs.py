"""Which pictures of a `media/` folder the records beside it refer to, and those that nobody refers to."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from pixelreasoner.core.files import remove_left, writing

MEDIA_FOLDER = "media"
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
"""How a line refers to a picture. Other strings that look the same keep nothing but pictures of that name."""
_PICTURE = re.compile(r"(?P<digest>[0-9a-f]{32})\.(png|jpg|webp)")


def digests_of(line: bytes) -> set[str]:
    """The pictures that a line refers to."""
    return {digest.decode() for digest in _DIGEST.findall(line)}


def digests_in(path: Path, *, start: int = 0) -> set[str]:
    """The pictures that a file of records refers to from a byte on."""
    found: set[str] = set()
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            found |= digests_of(line)
    return found


def pictures_in(folder: Path) -> dict[str, Path]:
    """The pictures in a `media/` folder by their digests."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return {match["digest"]: path for path in paths if (match := _PICTURE.fullmatch(path.name))}


def remove_unused(folder: Path, candidates: Collection[str], used: Iterable[str] = ()) -> None:
    """Remove pictures of `folder/media` that neither `used` names nor any file of lines in `folder`."""
    unused = set(candidates).difference(used)
    for path in folder.glob("*.jsonl") if unused else ():
        unused -= digests_in(path)
    if unused:
        pictures = pictures_in(folder / MEDIA_FOLDER)
        for digest in unused & pictures.keys():
            pictures[digest].unlink()


def recover(path: Path, used: Collection[str] = ()) -> int:
    """Put a file of records in order that a writer was killed in, and its pictures; returns its records.

    Pictures that nobody refers to are removed. A power cut may leave an empty picture: it is removed too, and
    the file is cut before the first record that refers to it. The last line is a whole one already
    (`core.records.drop_cut_line`).

    Args:
        path: the file.
        used: pictures to keep that are named elsewhere.

    Raises:
        RecordError: the place cannot be written to.
    """
    media = path.parent / MEDIA_FOLDER
    with writing(path):
        remove_left(media)
        pictures = pictures_in(media)
        empty = {digest for digest, picture in pictures.items() if picture.stat().st_size == 0}
        for digest in empty:
            pictures[digest].unlink()
        whole, n = 0, 0
        with path.open("r+b") as file:
            for line in file:
                if empty and not empty.isdisjoint(digests_of(line)):
                    break
                whole, n = whole + len(line), n + 1
            file.truncate(whole)
        remove_unused(path.parent, pictures, used)
    return n
