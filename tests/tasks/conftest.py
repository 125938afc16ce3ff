"""Pictures and files of a few pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.core.media import Picture
from pixelreasoner.core.media_io import save_image


def noise(seed: int, width: int = 5, height: int = 4) -> Picture:
    return Picture(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    """Four pictures, also as files 0.png to 3.png in `tmp_path`."""
    made = [noise(seed) for seed in range(4)]
    for i, picture in enumerate(made):
        save_image(picture, tmp_path / f"{i}.png")
    return made


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows (objects, or text as it is) to a file and returns its path."""

    def write(*rows: object, name: str = "tasks.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
        return path

    return write
