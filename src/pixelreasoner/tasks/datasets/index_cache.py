"""What was found in a large file, kept so that the file is looked through once.

A few arrays for each file, under `PIXELREASONER_CACHE`, else `XDG_CACHE_HOME/pixelreasoner`, else
`~/.cache/pixelreasoner`. The folder may be removed at any time. Where nothing can be written, the file is
looked through each time.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.files import replacing, writing

Arrays = Mapping[str, npt.NDArray[np.int64]]


def kept(path: Path, what: str, find: Callable[[], Arrays]) -> Arrays:
    """What was found in a file when it was last looked through, or is found now.

    Args:
        path: a file; changed (its size or its time), it is looked through again.
        what: is looked for, and the version of how it is kept.
        find: looks the file through; its arrays are of whole numbers.

    Raises:
        RecordError: the file is not there.
    """
    try:
        about = path.stat()
    except OSError as e:
        raise RecordError(f"{path} cannot be read ({e.strerror}); check the path") from e
    key = "\0".join((str(path.resolve()), str(about.st_size), str(about.st_mtime_ns), what))
    name = hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=16).hexdigest()
    place = cache_folder() / "indexes" / f"{name}.npz"
    if (found := _read(place)) is not None:
        return found
    found = find()
    try:
        with replacing(place) as file, writing(place):
            arrays: dict[str, Any] = dict(found)
            np.savez(file, **arrays)
    except RecordError:
        pass  # no place for it: it is found again next time
    return found


def cache_folder() -> Path:
    """Where what can be found again is kept."""
    if own := os.environ.get("PIXELREASONER_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "pixelreasoner"
    return Path(os.path.expanduser("~")) / ".cache" / "pixelreasoner"


def _read(place: Path) -> Arrays | None:
    """The arrays in a file; None where it is not there, or damaged."""
    try:
        # Opened here: numpy does not close a file that it finds damaged.
        with place.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            opened: Any = file
            return {name: opened[name] for name in opened.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
