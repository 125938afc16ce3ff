"""`pixelreasoner ablations`: which part of the method does what, on the embedded model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import tyro

from pixelreasoner.cli.options import option


def ablations(
    names: Annotated[tyro.conf.Positional[tuple[str, ...]], option("[NAME ...]")] = (),
    *,
    out: Annotated[Path, option("DIR")] = Path("runs/ablations"),
    seeds: Annotated[tuple[int, ...], option("SEED [SEED ...]")] = (0, 1, 2),
) -> None:
    """One part of the method changed at a time, in one table.

    Each is a training of the embedded model. What is finished in the folder is not done again; all of it
    takes hours.

    Args:
        names: Which ablations; all when none is named. A wrong name lists them.
        out: Where the runs and table.md go.
        seeds: One run of each ablation per seed.
    """
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.nano.ablations import run

    run(out=out, names=names, seeds=seeds)
    say_done({"Table": out / "table.md"}, {"Look": shlex.join(["runs", str(out)])})
