"""How long rollouts took: `seconds.json`, beside the records and no part of what a run must repeat."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from pixelreasoner.core.files import write_text
from pixelreasoner.core.provenance import provenance
from pixelreasoner.core.trajectory import Trajectory

SECONDS_FILE = "seconds.json"


def timed(
    made: Iterator[Trajectory],
    folder: Path,
    *,
    first: int,
    batch_size: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Trajectory]:
    """The same rollouts; the time in which each batch was made and scored is written down.

    Args:
        made: from the start of a batch on.
        folder: of the run.
        first: the number of the first rollout, from 0. A batch that is made again replaces its earlier time.
        batch_size: rollouts that are made together.
        clock: in seconds.
    """
    batches = _batches(folder) if first else {}
    for start in count(first, batch_size):
        n, seconds = 0, 0.0
        while n < batch_size:
            began = clock()
            trajectory = next(made, None)
            seconds += clock() - began
            if trajectory is None:
                break
            n += 1
            yield trajectory
        if n:
            batches[str(start)] = {"rollouts": n, "seconds": round(seconds, 3)}
            write_text(folder / SECONDS_FILE, json.dumps(batches) + "\n")
        if n < batch_size:
            return


def host(folder: Path) -> dict[str, Any]:
    """Where and how long a run was computed::

        {"machine", "system", "packages", ...      `core.provenance`
         "seconds": {"total", "rollouts", "per_rollout"}}     None where no time was written down

    Of the batches whose time is known, the last time each was made.
    """
    batches = _batches(folder).values()
    rollouts, total = sum(b["rollouts"] for b in batches), sum(b["seconds"] for b in batches)
    seconds = (
        {"total": round(total, 3), "rollouts": rollouts, "per_rollout": total / rollouts}
        if rollouts
        else None
    )
    return {**provenance(), "seconds": seconds}


def _batches(folder: Path) -> dict[str, dict[str, Any]]:
    """By the number of their first rollout."""
    try:
        found = json.loads((folder / SECONDS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
