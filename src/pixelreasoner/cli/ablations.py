"""`pixelreasoner ablations`: which part of the method does what, on the embedded model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro


def ablations(
    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[NAME ...]")] = (),
    *,
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/ablations"),
    seeds: tuple[int, ...] = (0, 1, 2),
) -> None:
    """Train the embedded model with one part of the method changed at a time, and write one table.

    What is finished in the folder is not done again; all of it takes hours.

    Args:
        names: Which ablations; all when none is named. A wrong name lists them.
        out: Where the runs and table.md go.
        seeds: One run of each ablation per seed.
    """
    from pixelreasoner.nano.ablations import run

    run(out=out, names=names, seeds=seeds)
