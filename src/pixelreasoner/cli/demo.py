"""`pixelreasoner demo`: the whole method on the embedded model, on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from pixelreasoner.cli.options import option


def demo(
    *,
    out: Annotated[Path, option("DIR")] = Path("runs/demo"),
    seed: int = 0,
    photos: Annotated[Path | None, option("DIR")] = None,
) -> None:
    """The whole method on the embedded model, and a report.

    Synthesise, warm-start, train with and without curiosity, evaluate. A demo that was interrupted goes on
    when the same command is given again.

    Args:
        out: Where the models, metrics.json and report.html go.
        seed: Fixes the data and every random draw.
        photos: A folder of your own photographs for the backgrounds.
    """
    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.nano.demo import run

    run(out=out, seed=seed, photos=photos)
    curves = [str(out / name) for name in ("rl_no_curiosity", "rl_curiosity")]
    say_done({"Report": out / "report.html"}, {"Look": shlex.join(["plot", *curves])})
