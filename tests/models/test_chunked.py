"""Attention by chunks of products is the softmax written out, whatever the chunks; it builds no [T, T]."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pixelreasoner.models.attention import flash_kernels
from pixelreasoner.models.attention.flash_kernels import Chunked, CpuFlash, Region

SCALE = 0.3
CAUSAL = Region(q_start=0, k_start=0, q_lengths=(7, 1, 12), k_lengths=(7, 1, 12), causal=True)
ACROSS = Region(q_start=0, k_start=0, q_lengths=(9, 3), k_lengths=(4, 11), causal=False)


def states(region, dtype=torch.float64, heads=4, kv_heads=2, width=6):
    generator = torch.Generator().manual_seed(0)
    sizes = ((sum(region.q_lengths), heads), *[(sum(region.k_lengths), kv_heads)] * 2)
    return [torch.randn(*s, width, generator=generator, dtype=torch.float64).to(dtype) for s in sizes]


def written_out(q, k, v, region):
    """Token by token and head by head: [T, H, D] and [T, H]."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    out, lse = [], []
    for at, of in region.pieces():
        for i, query in enumerate(q[at]):
            seen = slice(of.start, of.start + i + 1) if region.causal else of
            scores = torch.einsum("hd,shd->hs", query, k[seen]) * SCALE
            lse.append(scores.logsumexp(-1))
            out.append(torch.einsum("hs,shd->hd", scores.softmax(-1), v[seen]))
    return torch.stack(out), torch.stack(lse)


@pytest.mark.parametrize("region", [CAUSAL, ACROSS], ids=["causal", "across"])
@pytest.mark.parametrize(("queries", "scores"), [(1024, 2**26), (3, 2**26), (1024, 50), (1, 1)])
def test_outputs_and_gradients(region, queries, scores, monkeypatch):
    kernel = Chunked()
    monkeypatch.setattr(flash_kernels, "CHUNK_QUERIES", queries)
    monkeypatch.setattr(flash_kernels, "CHUNK_SCORES", scores)
    q, k, v = (x.requires_grad_() for x in states(region))
    expected, expected_lse = written_out(q, k, v, region)
    weight = torch.sin(torch.arange(expected.numel(), dtype=torch.float64)).reshape(expected.shape)
    wanted = torch.autograd.grad((expected * weight).sum(), (q, k, v))
    with torch.no_grad():
        out, lse = kernel.forward(q, k, v, region, SCALE)
        found = kernel.backward(weight, q, k, v, out, lse, region, SCALE)
    torch.testing.assert_close(out, expected.detach(), atol=1e-13, rtol=1e-12)
    torch.testing.assert_close(lse, expected_lse.detach(), atol=1e-13, rtol=1e-12)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-13, rtol=1e-12)


@pytest.mark.parametrize("region", [CAUSAL, ACROSS], ids=["causal", "across"])
def test_given_a_larger_softmax_it_returns_its_share_as_the_flash_kernel_does(region):
    q, k, v = states(region)
    grad = torch.cos(q)
    out, lse = CpuFlash().forward(q, k, v, region, SCALE)
    larger = (grad, q, k, v, out * 0.7, lse + 0.9, region, SCALE)
    for ours, theirs in zip(Chunked().backward(*larger), CpuFlash().backward(*larger), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_narrow_dtypes_are_summed_in_float32(dtype):
    q, k, v = states(CAUSAL, dtype)
    out, lse = Chunked().forward(q, k, v, CAUSAL, SCALE)
    assert (out.dtype, lse.dtype) == (dtype, torch.float32)
    gradients = Chunked().backward(out, q, k, v, out, lse, CAUSAL, SCALE)
    assert {g.dtype for g in gradients} == {dtype}
    wide = [x.double() for x in (q, k, v)]
    expected, _ = written_out(*wide, CAUSAL)
    torch.testing.assert_close(
        out.double(), expected, atol=2 * torch.finfo(dtype).eps, rtol=2 * torch.finfo(dtype).eps
    )


class Largest(TorchDispatchMode):
    """The most elements an operator put into new memory."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.untyped_storage().nbytes() // x.element_size())
        return out


def test_a_long_row_never_has_all_its_scores(monkeypatch):
    n, heads = 600, 2
    region = Region(q_start=0, k_start=0, q_lengths=(n,), k_lengths=(n,), causal=True)
    q, k, v = states(region, torch.float32, heads=heads, kv_heads=1)
    kernel = Chunked()
    most = 40 * n * heads
    monkeypatch.setattr(flash_kernels, "CHUNK_SCORES", most)
    with Largest() as largest:
        out, lse = kernel.forward(q, k, v, region, SCALE)
        kernel.backward(out, q, k, v, out, lse, region, SCALE)
    assert largest.elements <= most < n * n


@pytest.mark.parametrize("region", [CAUSAL, ACROSS], ids=["causal", "across"])
def test_everything_is_made_where_the_states_are(region):
    """A tensor made on the CPU cannot be used together with those of the meta device."""
    q, k, v = (x.to("meta") for x in states(region))
    out, lse = Chunked().forward(q, k, v, region, SCALE)
    gradients = Chunked().backward(out, q, k, v, out, lse, region, SCALE)
    assert {x.device.type for x in (out, lse, *gradients)} == {"meta"}
