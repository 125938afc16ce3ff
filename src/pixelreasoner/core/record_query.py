"""Which recorded trajectories to look at: by step, task, template or verdict, lowest or highest in a metric.

Everything is decided on the text of the records; only the pictures of those that are chosen are read.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pixelreasoner.core.errors import MediaError, RecordError
from pixelreasoner.core.media import Picture
from pixelreasoner.core.records import MediaFolder, not_json, trajectory_from_json
from pixelreasoner.core.rejections import ALL, KEPT, rejected_records, rejections_by_line
from pixelreasoner.core.rollout_log import STEP_METRIC, step_files
from pixelreasoner.core.run_folder import ROLLOUTS_FOLDER, TRAJECTORIES_FILE
from pixelreasoner.core.trajectory import Trajectory

POLICY = "policy"
"""The source of a record that names none."""
COUNTS = ("operations", "invalid_operations", "turns", "sampled_tokens")
"""What a trajectory can be sorted by besides its metrics."""


@dataclass(frozen=True)
class RecordQuery:
    """All conditions hold together; None asks nothing."""

    step: int | None = None
    """Counted from 1; -1 is the last one recorded, -2 the one before."""
    task: str | None = None
    stop: str | None = None
    template: str | None = None
    """Of a synthesis: who wrote it (`Trajectory.source`)."""
    verdict: str | None = None
    """Of the folder of a synthesis: "kept" as None; "rejected", a stage, a reason or "stage.reason" for what
    was turned down; "all" for both."""
    lowest: str | None = None
    """A metric, or one of `COUNTS`: the trajectories with the lowest values, the lowest first."""
    highest: str | None = None
    limit: int | None = None
    """At most so many; None takes all."""


@dataclass(frozen=True)
class _Line:
    """A record whose pictures have not been read."""

    file: Path
    number: int
    """From 1."""
    data: dict[str, Any]
    rejection: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        return self.data.get("metrics", {})

    def trajectory(self, *, pictures: bool = True) -> Trajectory:
        """The record.

        Raises:
            RecordError: it is no trajectory, or a picture cannot be read; file and line are named.
        """
        get = MediaFolder(self.file.parent / "media").get if pictures else _blank
        try:
            made = trajectory_from_json(self.data, get)
        except (RecordError, MediaError) as e:
            raise RecordError(f"{self.file}, line {self.number}: {e}") from e
        return replace(made, rejection=self.rejection) if self.rejection else made


def _blank(digest: str) -> Picture:
    """A picture in the place of one that nobody will look at."""
    return Picture(np.zeros((1, 1, 3), np.uint8))


def find_trajectories(source: Path, query: RecordQuery) -> Iterator[Trajectory]:
    """The trajectories of a file or of a run's folder that a query asks for, read one at a time.

    Raises:
        RecordError: there are no records, the metric is not in them, or one or a picture cannot be read.
    """
    lines = _matching(source, query)
    name = query.lowest or query.highest
    if name is None:
        chosen = islice(lines, query.limit)
    elif query.limit is None:
        chosen = sorted(lines, key=lambda line: _value(line, name), reverse=query.lowest is None)
    else:
        choose = heapq.nsmallest if query.lowest else heapq.nlargest
        chosen = choose(query.limit, lines, key=lambda line: _value(line, name))
    return (line.trajectory() for line in chosen)


def record_files(source: Path) -> dict[int, Path]:
    """The files of records behind a path, by the first step they may hold, in order.

    Raises:
        RecordError: there are none.
    """
    if source.is_file():
        return {0: source}
    if not source.exists():
        raise RecordError(f"{source} does not exist; check the path")
    found = step_files(source) or step_files(source / ROLLOUTS_FOLDER)
    if not found and (source / TRAJECTORIES_FILE).is_file():
        found = {0: source / TRAJECTORIES_FILE}
    if not found:
        raise RecordError(f"{source} holds no trajectories; give a file of records, or the folder of a run")
    return found


def _matching(source: Path, query: RecordQuery) -> Iterator[_Line]:
    if query.verdict in (None, KEPT, ALL):
        yield from _kept(source, query)
    if query.verdict not in (None, KEPT):
        assert query.verdict is not None
        yield from (line for line in _rejected(source, query.verdict) if _fits(line, query))


def _rejected(run: Path, verdict: str) -> Iterator[_Line]:
    """The records of what a run turned down, with the reasons."""
    reasons = rejections_by_line(run, verdict)
    path = rejected_records(run)
    for line in _lines(path) if reasons and path.is_file() else ():
        if (reason := reasons.get(line.number - 1)) is not None:
            yield replace(line, rejection=str(reason))


def _fits(line: _Line, query: RecordQuery) -> bool:
    task = line.data.get("task", {})
    return (
        (query.step is None or line.metrics.get(STEP_METRIC) == query.step)
        and (query.task is None or task.get("id") == query.task)
        and (query.stop is None or line.data.get("stop") == query.stop)
        and (query.template is None or line.data.get("source", POLICY) == query.template)
    )


def _kept(source: Path, query: RecordQuery) -> Iterator[_Line]:
    files = record_files(source)
    step = query.step
    if step is not None and step < 0:
        step = _step_from_the_end(files, step)
        query = replace(query, step=step)
    if step is not None and step_files(next(iter(files.values())).parent):
        # A file holds the steps up to the first one of the next file.
        last = max((first for first in files if first <= step), default=None)
        files = {} if last is None else {last: files[last]}
    for path in files.values():
        yield from (line for line in _lines(path) if _fits(line, query))


def _step_from_the_end(files: dict[int, Path], place: int) -> int:
    """The last step recorded (-1), the last but one (-2), ...; 0, which is no step, where there are fewer."""
    steps: set[int] = set()
    for path in reversed(files.values()):
        steps.update(int(line.metrics[STEP_METRIC]) for line in _lines(path) if STEP_METRIC in line.metrics)
        if len(steps) >= -place:
            return sorted(steps)[place]
    return 0


def _lines(path: Path) -> Iterator[_Line]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                data = json.loads(line)
            except ValueError as e:
                if not line.endswith(b"\n"):
                    return  # a run that is still being written may end in half a line
                raise RecordError(f"{path}, line {number}: {not_json(e)}") from e
            if not isinstance(data, dict):
                raise RecordError(f"{path}, line {number}: a record is a JSON object")
            yield _Line(path, number, data)  # pyright: ignore[reportUnknownArgumentType] - JSON


def _value(line: _Line, name: str) -> float:
    """A metric of a record, or a count."""
    if name in line.metrics:
        return float(line.metrics[name])
    if name not in COUNTS:
        known = ", ".join((*line.metrics, *COUNTS))
        raise RecordError(f"{line.file}: the records have no metric '{name}'; they have {known}")
    y = line.trajectory(pictures=False)
    counts = (y.n_operations, y.n_invalid_operations, len(y.turns), y.n_sampled_tokens)
    return dict(zip(COUNTS, counts, strict=True))[name]
