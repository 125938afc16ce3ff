"""Small data sets in the schema of the real ones."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def png(seed: int = 0, width: int = 6, height: int = 4) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def put(folder: Path, *names: str) -> None:
    """Pictures of their own under these names."""
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(seed))


def pack(archive: Path, *names: str) -> None:
    with zipfile.ZipFile(archive, "w") as file:
        for seed, name in enumerate(names):
            file.writestr(name, png(seed))


def write_json(path: Path, rows: Sequence[Mapping[str, Any]], **around: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**around, "data": rows} if around else list(rows)))


@pytest.fixture
def parquet() -> Callable[..., None]:
    """Writes a table with the types that the library `datasets` gives its features."""
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")

    def write(path: Path, rows: Sequence[Mapping[str, Any]], types: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = pa.schema(list(types.items()))
        pa.parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, row_group_size=2)

    return write
