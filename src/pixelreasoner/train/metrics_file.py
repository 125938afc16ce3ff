"""metrics.jsonl: a line per step, in order."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.run_folder import METRICS_FILE


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
    return {name: [_number(row[name]) for row in rows if name in row] for name in names}


def drop_after(path: Path, step: int) -> None:
    """Keep the lines of steps 1 to `step` only; nothing happens where there is no file.

    Raises:
        RecordError: the file has a line that is not JSON.
    """
    if path.exists():
        kept = [line for row, line in _rows(path) if row["step"] <= step]
        path.write_text("".join(kept), encoding="utf-8")


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


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
