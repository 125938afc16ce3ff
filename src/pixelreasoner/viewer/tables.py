"""Tables of shares on a page: percent, intervals, the best cell of a row or column marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool = False
    interval: str = ""
    """Of a share, in the unit of the text; empty where there is none."""


@dataclass(frozen=True)
class Table:
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    """(name, cells), a cell per column."""


@dataclass(frozen=True)
class Key:
    """An entry of the curves' legend."""

    name: str
    colour: str


def share_cells(
    shares: Sequence[float | None],
    intervals: Sequence[Sequence[float] | None],
    *,
    largest: bool,
) -> list[Cell]:
    """Return cells with the best share marked; all of several equals, none when all are equal."""
    known = [v for v in shares if v is not None and not math.isnan(v)]
    best = (max if largest else min)(known) if len(set(known)) > 1 else None
    return [
        Cell(
            percent(share),
            best is not None and share == best,
            "" if interval is None else f"{100 * interval[0]:.0f}–{100 * interval[1]:.0f}",
        )
        for share, interval in zip(shares, intervals, strict=True)
    ]


def percent(value: float | None) -> str:
    return f"{100 * value:.1f}\u2009%" if value is not None and not math.isnan(value) else "–"
