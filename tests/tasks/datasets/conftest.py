"""Small data sets in the schema of the real ones."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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
