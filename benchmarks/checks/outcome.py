"""What a check is, and what it found: numbers, some of which have a limit."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelreasoner.core.errors import MissingExtraError

Record = dict[str, Any]
LAST_LINES = 6
"""Of the traceback of a check that fails with an exception."""


@dataclass(frozen=True)
class Setting:
    """Where the checks run, and how large they are."""

    device: torch.device
    tiny: bool
    """Sizes for a processor of two cores."""
    folder: Path
    """For files; empty at first."""
    seconds: float = math.inf
    """For a whole group of checks: what measures takes care to end by then."""

    @property
    def on_card(self) -> bool:
        return self.device.type == "cuda"

    def dtypes(self, *narrow: torch.dtype) -> tuple[torch.dtype, ...]:
        """fp32, and those of the narrow formats."""
        return (torch.float32, *narrow)


@dataclass(frozen=True)
class Bound:
    """A number that a check passes with up to `most`; never when it is not finite."""

    value: float
    most: float

    @property
    def holds(self) -> bool:
        return math.isfinite(self.value) and self.value <= self.most


Found = Mapping[str, Any]
"""By name: a `Bound`, or something to report."""
Check = Callable[[], Found]
Checks = Mapping[str, Check]


def carried_out(name: str, check: Check, device: torch.device) -> Record:
    """Run a check; its record says whether it passed, in how many seconds, and what it found.

    One that needs an extra which is not installed has neither passed nor failed.

    `device_lost` is set when an error of the device came up that all that follows would meet too.
    """
    start = time.perf_counter()
    record: Record = {"kind": "check", "name": name}
    try:
        found = check()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except MissingExtraError as e:
        record |= {"passed": None, "left out": str(e)}
    except Exception as e:
        record |= {"passed": False, "error": _last_lines(e), "device_lost": _lost(device)}
    else:
        bounds = {k: v for k, v in found.items() if isinstance(v, Bound)}
        record["passed"] = all(bound.holds for bound in bounds.values())
        record |= {k: v.value if isinstance(v, Bound) else v for k, v in found.items()}
        record["limits"] = {k: bound.most for k, bound in bounds.items()}
    return record | {"seconds": round(time.perf_counter() - start, 3)}


def gap(found: Tensor, exact: Tensor) -> float:
    """The norm of the difference, in units of that of the exact values."""
    exact = exact.detach().double().cpu()
    return float((found.detach().double().cpu() - exact).norm() / exact.norm().clamp_min(1e-300))


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def short(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]


def _last_lines(error: Exception) -> str:
    return "\n".join("".join(traceback.format_exception(error)).splitlines()[-LAST_LINES:])


def _lost(device: torch.device) -> bool:
    """Whether the device cannot be used any more by this process."""
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
        torch.ones(1, device=device).item()
    except RuntimeError:
        return True
    return False
