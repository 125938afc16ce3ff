"""CUDA graphs on a device that has them; `python -m benchmarks gpu-checks --only graphs` does more."""

from __future__ import annotations

import logging

import pytest
import torch

from pixelreasoner.models import graphs
from pixelreasoner.models.graphs import CudaCapture

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def no_failure_before(monkeypatch):
    monkeypatch.setattr(CudaCapture, "n_failed", 0)
    graphs._say_once.cache_clear()


def test_a_graph_reads_what_its_memory_holds_now():
    x, out = torch.ones(4, device=CUDA), torch.empty(4, device=CUDA)

    def thrice():
        out.copy_(x * 3)

    graph = CudaCapture(CUDA)(thrice)
    assert graph is not None
    assert out.tolist() == [3.0] * 4
    x.fill_(5)
    graph.replay()
    assert out.tolist() == [15.0] * 4


def test_what_looks_at_the_device_runs_once_and_is_not_captured(caplog):
    x, out = torch.ones(4, device=CUDA), torch.zeros(1, device=CUDA)
    capture = CudaCapture(CUDA)

    def look():
        out.add_(x.sum().item())

    with caplog.at_level(logging.WARNING, "pixelreasoner"):
        for _ in range(2):
            assert capture(look) is None
    assert out.tolist() == [8.0]
    assert len(caplog.records) == 1
    assert CudaCapture(CUDA)(out.zero_) is not None
    assert out.tolist() == [0.0]


def test_graphs_stay_within_their_bytes():
    x = torch.ones(2**20, device=CUDA)
    out = torch.empty_like(x)

    def fivefold():
        out.copy_(x * 2 + x * 3)

    assert CudaCapture(CUDA, most_bytes=2**20)(fivefold) is None
    assert out[0].item() == 5.0
