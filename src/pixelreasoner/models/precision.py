"""Which number format the matrix products of a run use."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from pixelreasoner.models.config import Precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """A context in which matrix products run in `precision`; weights and sums stay in float32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
