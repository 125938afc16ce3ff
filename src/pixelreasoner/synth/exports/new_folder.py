"""A folder that is there whole or not at all: it is filled under another name, and renamed at the end."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.files import left_name, remove_left, sync_files, sync_folder, writing


@contextmanager
def new_folder(path: Path) -> Generator[Path]:
    """Give a folder to fill; it becomes `path` when the block is left without an error.

    A kill at any moment leaves no `path`; what was written so far lies beside it under a hidden name, and the
    next export to `path` removes it.

    Raises:
        RecordError: there is something at `path`, or the place cannot be written to.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RecordError(f"{path} holds something already; choose another --out, or remove it")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_left(path.parent, path.name)
        part = left_name(path)
        part.mkdir()
    try:
        yield part
        with writing(path):
            sync_files(part)
            part.rename(path)
            sync_folder(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
