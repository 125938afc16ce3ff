"""metrics.jsonl: a line per step, in order."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.files import write_text
from pixelreasoner.core.run_folder import METRICS_FILE

OWN_FIELDS = ("step", "time")
"""What a line holds besides metrics."""
_TAIL = 65_536
"""Bytes at the end of a metrics file that hold its last line."""


@dataclass(frozen=True)
class Curve:
    """One metric of one run, at the steps that have it."""

    steps: tuple[int, ...]
    values: tuple[float, ...]
    """NaN where the value was not finite."""


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The steps recorded in a run's folder, in order; a value that was not finite is None.

    Raises:
        RecordError: there is no metrics file, or it has a line that is not JSON.
    """
    path = folder / METRICS_FILE
    if not path.exists():
        raise RecordError(f"{path} does not exist: is {folder} the folder of a training run?")
    return [row for row, _ in _rows(path)]


def read_curves(folder: Path, names: Sequence[str]) -> dict[str, list[float]]:
    """Each named metric over the steps that have it; NaN where it was not finite.

    Raises:
        RecordError: as `read_metrics`.
    """
    rows = read_metrics(folder)
    return {name: list(curve_of(rows, name).values) for name in names}


def curve_of(rows: Sequence[dict[str, Any]], name: str) -> Curve:
    """One metric of the steps that `read_metrics` gives; empty where no step has it."""
    having = [row for row in rows if name in row]
    return Curve(
        tuple(int(row["step"]) for row in having),
        tuple(math.nan if row[name] is None else float(row[name]) for row in having),
    )


def metric_names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The metrics that any of the steps has, in the order in which they appear."""
    return [name for name in dict.fromkeys(n for row in rows for n in row) if name not in OWN_FIELDS]


def last_metrics(folder: Path) -> dict[str, Any]:
    """The last step recorded, read from the end of the file; empty where there is none."""
    path = folder / METRICS_FILE
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:
            continue  # a line that is being written, or was cut
        if isinstance(row, dict) and "step" in row:
            return row  # pyright: ignore[reportUnknownVariableType] - JSON
    return {}


def drop_after(path: Path, step: int) -> None:
    """Keep the lines of steps 1 to `step` only; nothing happens where there is no file.

    Raises:
        RecordError: the file has a line that is not JSON.
    """
    if path.exists():
        write_text(path, "".join(line for row, line in _rows(path) if row["step"] <= step))


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Each line of a metrics file, parsed and raw; a last line torn by a crash is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line), line
        except json.JSONDecodeError as e:
            if number == len(lines):
                return
            raise RecordError(
                f"{path}, line {number} is not JSON ({e.msg}); delete the line or the file"
            ) from e
