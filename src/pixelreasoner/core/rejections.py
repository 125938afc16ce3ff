"""What a run of synthesis turned down, and why: read from the folder of the run.

::

    rejections.jsonl              {"task": "t-7", "stage": "judge", "reason": "the crop is not needed",
                                   "detail": ..., "trajectory": 0}     a line for each task
    rejected/trajectories.jsonl   those that had come so far; "trajectory" is the line there, from 0
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pixelreasoner.core.errors import RecordError
from pixelreasoner.core.run_folder import TRAJECTORIES_FILE

REJECTIONS_FILE = "rejections.jsonl"
REJECTED_FOLDER = "rejected"
KEPT, REJECTED, ALL = "kept", "rejected", "all"
"""Verdicts that name no reason."""


@dataclass(frozen=True)
class Rejection:
    """Why a task gave no trajectory."""

    stage: str
    reason: str
    detail: str = ""
    line: int | None = None
    """Of its record in `rejected/trajectories.jsonl`, from 0; None where there is none."""

    @property
    def name(self) -> str:
        """What it is counted by: "stage.reason"."""
        return f"{self.stage}.{self.reason}"

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}" + (f" ({self.detail})" if self.detail else "")

    def fits(self, verdict: str) -> bool:
        """Whether a verdict names it: any rejection, its stage, its reason, or both."""
        return verdict in (ALL, REJECTED, self.stage, self.reason, self.name)


def read_rejections(run: Path) -> Iterator[Rejection]:
    """The rejections of a run, in the order of their lines; a last line that is cut short is passed over.

    Raises:
        RecordError: there are none, or a line is no rejection.
    """
    path = run / REJECTIONS_FILE
    if not path.is_file():
        raise RecordError(f"{run} has no {REJECTIONS_FILE}: --verdict is for the folder of a synthesis")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = cast(dict[str, Any], json.loads(line))
                detail, place = str(row.get("detail") or ""), row.get("trajectory")
                yield Rejection(str(row["stage"]), str(row["reason"]), detail, place)
            except (ValueError, KeyError, TypeError, AttributeError) as e:
                if not line.endswith(b"\n"):
                    return
                raise RecordError(f"{path}, line {number}: no rejection ({e})") from e


def rejected_records(run: Path) -> Path:
    """The file of what a run turned down."""
    return run / REJECTED_FOLDER / TRAJECTORIES_FILE


def rejections_by_line(run: Path, verdict: str = REJECTED) -> dict[int, Rejection]:
    """The rejections that a verdict names and that have a record, by its line, from 0.

    Raises:
        RecordError: there are none; the message says which reasons there are.
    """
    counts: Counter[str] = Counter()
    found: dict[int, Rejection] = {}
    fitting = 0
    if verdict == ALL and not (run / REJECTIONS_FILE).is_file():
        return found
    for rejection in read_rejections(run):
        counts[rejection.name] += 1
        if rejection.fits(verdict):
            fitting += 1
            if rejection.line is not None:
                found[rejection.line] = rejection
    if found or verdict == ALL:
        return found
    if fitting:
        raise RecordError(
            f"{run}: {fitting} tasks were turned down so ({verdict}) before there was a trajectory; "
            f"{REJECTIONS_FILE} lists them"
        )
    known = ", ".join(f"{name} ({n})" for name, n in counts.most_common())
    raise RecordError(
        f"{run}: nothing was turned down for '{verdict}'; there are: {known or 'no rejections'}"
    )
