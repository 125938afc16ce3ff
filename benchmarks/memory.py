"""How much memory a step needs beyond what was there before it.

On a processor the question is put to the kernel: the resident size at its highest, of a process that does
nothing else. `ru_maxrss` will not do: a child starts with that of the process it was started from.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_of(step: Callable[[], object], device: torch.device) -> int:
    """Bytes that `step` holds at its highest beyond those before it; run it once first, to load libraries."""
    gc.collect()
    if device.type == "cuda":
        # Late: who measures a small process has no use for torch.
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    before = start_high_water()
    step()
    return max(0, high_water() - before)


def measured_in_child(request: Mapping[str, Any]) -> list[dict[str, int]]:
    """What `bench.child` answers to the request, in a process of its own."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        # Freed blocks go back at once: what is resident is what is in use.
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.child"],
        input=json.dumps(request), capture_output=True, text=True, env=environment,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the process that measures memory failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def start_high_water() -> int:
    """Forget earlier peaks where the system can; the resident bytes now."""
    if not CLEAR.exists():
        return high_water()
    CLEAR.write_text("5")
    return _status("VmRSS")


def resident() -> int:
    """The resident bytes of this process now."""
    return _status("VmRSS") if STATUS.exists() else high_water()


def high_water() -> int:
    """The most resident bytes this process has had, since they were forgotten last."""
    if STATUS.exists():
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
