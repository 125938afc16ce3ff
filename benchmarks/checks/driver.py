"""The checks of a device, group by group in processes of their own, their records as they come."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.checks.child import DEVICE_LOST, GROUPS
from benchmarks.checks.outcome import Record

FIGURES = ("steps", "decoding", "graph-steps")
"""Groups that measure: each has the machine to itself."""
SECONDS = {"kernels": 120, "recurrent": 60, "models": 120, "nano": 120, "graphs": 150, "optimisers": 120,
           "sharded": 120, "commands": 400, "steps": 240, "decoding": 180, "graph-steps": 120}  # fmt: skip
"""Of a group, at the most; then its process is ended."""


@dataclass(frozen=True)
class Plan:
    """What `python -m benchmarks gpu-checks` does."""

    device: str
    tiny: bool = False
    groups: tuple[str, ...] = tuple(GROUPS)
    at_once: int = 4
    """Groups of checks that run side by side; those that measure never do."""
    minutes: float = 60.0
    """For everything."""


def run(plan: Plan) -> Iterator[Record]:
    """Records as they are made."""
    end = time.monotonic() + 60 * plan.minutes
    checks = [g for g in plan.groups if g not in FIGURES]
    yield from _side_by_side(plan, checks, plan.at_once, end)
    yield from _side_by_side(plan, [g for g in plan.groups if g in FIGURES], 1, end)


def _side_by_side(plan: Plan, groups: Sequence[str], at_once: int, end: float) -> Iterator[Record]:
    if not groups:
        return
    records: queue.Queue[Record | None] = queue.Queue()
    threads = max(1, (os.cpu_count() or 1) // min(at_once, len(groups)))

    def work() -> None:
        with ThreadPoolExecutor(at_once) as pool:
            for group in groups:
                pool.submit(_group, plan, group, threads, end, records)
        records.put(None)

    threading.Thread(target=work, daemon=True).start()
    while (record := records.get()) is not None:
        yield record


def _group(plan: Plan, group: str, threads: int, end: float, records: queue.Queue[Record | None]) -> None:
    """A group's records, by one process, or by another for what is left when the first lost the device."""
    until = min(end, time.monotonic() + SECONDS[group])
    done, code = 0, DEVICE_LOST
    while code == DEVICE_LOST and time.monotonic() < until:
        n, code = _child(plan, group, done, threads, until, records)
        done += n
        if n == 0:
            break
    if time.monotonic() >= until and code != 0:
        records.put(_failure(group, f"left out from its check {done + 1} on: the time is over"))


def _child(
    plan: Plan, group: str, first: int, threads: int, until: float, records: queue.Queue[Record | None]
) -> tuple[int, int]:
    """Run a group from a check on; returns how many were done, and how the process ended."""
    seconds = max(1.0, until - time.monotonic())
    request = {"group": group, "device": plan.device, "tiny": plan.tiny, "first": first, "seconds": seconds}
    errors: list[str] = []
    n = 0
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.checks.child"], text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(threads),
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        timer = threading.Timer(seconds, _end, [process])
        timer.start()
        reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
        reader.start()
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request))
            process.stdin.close()
        for line in process.stdout:
            records.put({"group": group, **json.loads(line)})
            n += 1
        code = process.wait()
        timer.cancel()
        reader.join(5)
    if code not in (0, DEVICE_LOST) and time.monotonic() < until:
        records.put(_failure(group, f"ended with {code} after {n} checks: {''.join(errors[-8:])}"))
    return n, code


def _end(process: subprocess.Popen[str]) -> None:
    """The process and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _environment(threads: int) -> dict[str, str]:
    path = os.pathsep.join(str(Path(p or ".").absolute()) for p in sys.path)
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}


def _failure(group: str, error: str) -> Record:
    return {"kind": "check", "group": group, "name": f"the group {group}", "passed": False, "error": error}


def line_of(record: Record) -> str:
    """A record in a line; what failed, with its error."""
    verdict = {True: "ok  ", False: "FAIL", None: "--  "}[record.get("passed")]
    hidden = {"kind", "group", "name", "passed", "limits", "seconds", "error", "device_lost"}
    limits: dict[str, float] = record.get("limits", {})
    numbers = ", ".join(
        f"{key} {_number(value)}{f' (<= {limits[key]:g})' if key in limits else ''}"
        for key, value in record.items()
        if key not in hidden
    )
    head = f"{verdict} {record.get('seconds', 0.0):6.1f} s  {record['group']}: {record['name']}"
    return "\n".join(filter(None, (f"{head}: {numbers}" if numbers else head, record.get("error"))))


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
