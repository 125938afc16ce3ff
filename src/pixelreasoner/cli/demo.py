"""`pixelreasoner demo`: the whole method on the embedded model, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def demo(
    *,
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo"),
    seed: int = 0,
    photos: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
) -> None:
    """Synthesise, warm-start, train with and without curiosity, evaluate, and write a report.

    Args:
        out: Where the models, metrics.json and report.html go.
        seed: Fixes the data and every random draw.
        photos: A folder of your own photographs for the backgrounds.
    """
    from pixelreasoner.nano.demo import run

    run(out=out, seed=seed, photos=photos)
