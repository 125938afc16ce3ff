"""What is wrong with a file that cannot be read, as far as its first bytes tell."""

from __future__ import annotations

from pathlib import Path


def damage_of(path: Path) -> str:
    """Why a file that is there is not what it should be: "it is empty", ...

    Raises:
        OSError: it cannot be opened.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself"
    return "it is empty" if not start else "it is cut short or damaged"
