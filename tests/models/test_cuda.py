"""Attention and the recurrent layer on a CUDA device; `python -m benchmarks gpu-checks` does more."""

from __future__ import annotations

import pytest
import torch

from benchmarks.checks import kernels, recurrent
from benchmarks.checks.outcome import Setting, carried_out

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
CUDA = torch.device("cuda")
SETTING = Setting(CUDA, True, None)  # pyright: ignore[reportArgumentType] (no check here writes files)


@pytest.mark.parametrize("group", [kernels, recurrent])
def test_they_compute_what_float64_does(group):
    records = [carried_out(name, check, CUDA) for name, check in group.checks(SETTING).items()]
    assert [record for record in records if not record["passed"]] == []
