"""The sizes of the pictures in a Parquet file, from their headers; the file is read for it once."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.errors import MediaError, MissingExtraError
from pixelreasoner.core.image_files import inspect_image
from pixelreasoner.core.progress_line import tracked
from pixelreasoner.tasks.datasets.index_cache import Arrays, kept
from pixelreasoner.tasks.parquet import ParquetRows

MANY = 1000
"""Pictures from which on there is a progress line."""


def picture_sizes(path: Path, column: str) -> npt.NDArray[np.int64]:
    """Width and height of the picture in each row, int64 [N, 2]; 0 and 0 where none can be read.

    Args:
        path: a Parquet file.
        column: of it; holds bytes, or `{bytes, path}`.

    Raises:
        RecordError: the file cannot be read.
        MissingExtraError: pyarrow is not installed.
    """

    def find() -> Arrays:
        rows, sizes = ParquetRows(path, {column: column}), array("q")
        numbers = range(1, rows.n_rows + 1)
        shown = len(numbers) >= MANY and parent_process() is None
        each = tracked(numbers, f"sizes in {path.name}", total=len(numbers)) if shown else numbers
        for row in rows.read(each):
            sizes.extend(_size(cast(Mapping[str, Any], row).get(column)))
        return {"sizes": np.array(sizes, np.int64).reshape(-1, 2)}

    return kept(path, f"picture sizes/1/{column}", find)["sizes"]


def _size(value: Any) -> tuple[int, int]:
    content = cast(Mapping[str, Any], value).get("bytes") if isinstance(value, Mapping) else value
    if not isinstance(content, bytes):
        return 0, 0
    try:
        found = inspect_image(content, "the picture")
    except (MediaError, MissingExtraError):
        return 0, 0
    return (0, 0) if found is None else found.picture.size
