"""Two-region attention against plain causal attention, one completion at a time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from pixelreasoner.models.attention import flash_kernels, shared_prefix
from pixelreasoner.models.attention.flash_kernels import Chunked, CpuFlash, CudaFlash, Region, kernel_for
from pixelreasoner.models.attention.shared_prefix import (
    GroupSpan,
    PrefixPlan,
    dense_attention,
    shared_prefix_attention,
)

SCALE = 0.3
plans = st.lists(
    st.builds(GroupSpan, st.integers(1, 9), st.lists(st.integers(1, 6), max_size=4).map(tuple)),
    min_size=1,
    max_size=3,
).map(lambda groups: PrefixPlan(tuple(groups)))


def states(plan, *, heads=4, kv_heads=2, width=8, dtype=torch.float64, seed=0):
    """Queries, keys and values as transformers hands them over: token-major in memory, heads first."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(1, plan.n_tokens, n, width, dtype=torch.float64, generator=generator)
        .to(dtype).transpose(1, 2).requires_grad_()
        for n in (heads, kv_heads, kv_heads)
    ]  # fmt: skip


def one_by_one(q, k, v, plan):
    """Each completion after its own copy of the prompt, by causal attention: [1, T, H, D]."""
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    out, start = [], 0
    for group in plan.groups:
        prompt = torch.arange(start, start + group.prompt)
        at = start + group.prompt
        for row, length in enumerate(group.branches or (0,)):
            tokens = torch.cat([prompt, torch.arange(at, at + length)])
            x = F.scaled_dot_product_attention(
                q[:, :, tokens], k[:, :, tokens], v[:, :, tokens], is_causal=True, scale=SCALE
            )
            out.append(x if row == 0 else x[:, :, group.prompt :])
            at += length
        start += group.n_tokens
    return torch.cat(out, 2).transpose(1, 2)


def with_gradients(attention, q, k, v):
    out = attention(q, k, v)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return out, *torch.autograd.grad((out * weight).sum(), (q, k, v))


def two_regions(plan, **options):
    return lambda q, k, v: shared_prefix_attention(
        torch.nn.Identity(), q, k, v, plan=plan, scaling=SCALE, **options
    )[0]


def dense(plan):
    return lambda q, k, v: dense_attention(torch.nn.Identity(), q, k, v, plan=plan, scaling=SCALE)[0]


@settings(max_examples=40, deadline=None)
@given(plans, st.sampled_from([(1, 1), (3, 1), (4, 2), (2, 2)]), st.integers(0, 3))
def test_outputs_and_gradients_are_those_of_one_completion_at_a_time(plan, heads, seed):
    q, k, v = states(plan, heads=heads[0], kv_heads=heads[1], seed=seed)
    expected = with_gradients(lambda *x: one_by_one(*x, plan), q, k, v)
    for attention in (two_regions(plan), dense(plan)):
        for found, wanted in zip(with_gradients(attention, q, k, v), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-13, rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 3e-6), (torch.bfloat16, 4e-2), (torch.float16, 5e-3)]
)
def test_narrow_dtypes(dtype, tolerance):
    plan = PrefixPlan((GroupSpan(33, (5, 17, 8)), GroupSpan(12, (3, 3))))
    q, k, v = states(plan, dtype=dtype)
    found = with_gradients(two_regions(plan), q, k, v)
    wide = [x.detach().double().requires_grad_() for x in (q, k, v)]
    expected = with_gradients(lambda *x: one_by_one(*x, plan), *wide)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.double(), b, atol=tolerance, rtol=tolerance)


def test_scores_far_from_zero_do_not_overflow():
    plan = PrefixPlan((GroupSpan(6, (3, 4)), GroupSpan(40, (33, 1, 9))))
    q, k, v = states(plan)
    q = (q.detach() * 3000).requires_grad_()
    found, wanted = with_gradients(two_regions(plan), q, k, v), with_gradients(dense(plan), q, k, v)
    assert all(x.isfinite().all() for x in found)
    # A score of 1e4 is known to 1e-12, and so are the probabilities; gradients of keys are the queries' size.
    for size, a, b in zip((1, 1, 3000, 1), found, wanted, strict=True):
        torch.testing.assert_close(a / size, b / size, atol=1e-10, rtol=1e-10)


def test_under_autocast_it_runs_in_the_narrow_dtype():
    plan = PrefixPlan((GroupSpan(6, (3, 4)),))
    q, k, v = states(plan, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, *gradients = with_gradients(two_regions(plan), q, k, v.to(torch.bfloat16))
    assert out.dtype == torch.bfloat16
    assert [g.dtype for g in gradients] == [torch.float32, torch.float32, torch.bfloat16]


class Sizes(TorchDispatchMode):
    """The most elements any operator put into new memory."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        old = {x.untyped_storage().data_ptr() for x in args if isinstance(x, torch.Tensor)}
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, torch.Tensor) and x.untyped_storage().data_ptr() not in old:
                self.largest = max(self.largest, x.untyped_storage().nbytes() // x.element_size())
        return out


def test_prompt_keys_are_never_repeated_and_no_mask_is_built():
    n_prompt, n_completions, own, heads, kv_heads, width = 64, 16, 4, 2, 1, 8
    plan = PrefixPlan((GroupSpan(n_prompt, (own,) * n_completions),))
    assert plan.n_tokens == 128
    q, k, v = states(plan, heads=heads, kv_heads=kv_heads, width=width)
    saved = {}

    def keep(x):
        saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes() // x.element_size()
        return x

    with Sizes() as sizes, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        with_gradients(two_regions(plan), q, k, v)
    # Nothing is larger than the queries; a copy of the prompt's keys for each completion would be.
    assert sizes.largest == plan.n_tokens * heads * width < n_completions * n_prompt * kv_heads * width
    assert sizes.largest < plan.n_tokens**2
    # Kept for the backward pass: q, k, v, out, the log-sum-exp, and the test's own weights.
    per_token = heads * width + 2 * kv_heads * width + heads * width + heads + heads * width
    assert sum(saved.values()) <= plan.n_tokens * per_token


def test_calls_of_the_kernel(monkeypatch):
    """One rectangle for all completions of a group, however many they are."""
    regions = []

    class Counting(CpuFlash):
        def forward(self, q, k, v, region, scale):
            regions.append((region.causal, len(q), len(k)))
            return super().forward(q, k, v, region, scale)

    monkeypatch.setattr(shared_prefix, "kernel_for", lambda q: Counting())
    plan = PrefixPlan((GroupSpan(7, (3, 4, 5)), GroupSpan(9), GroupSpan(6, (2,))))
    two_regions(plan)(*states(plan))
    assert regions == [(True, 36, 36), (False, 12, 7), (False, 2, 6)]


@given(plans, st.integers(0, 99), st.sampled_from([1, 7, 10_000]))
@settings(deadline=None, max_examples=30)
def test_chunks_give_the_same_on_any_device(plan, seed, scores):
    """Matrix products, a bounded number of scores at a time, against one masked softmax; gradients too."""
    before = flash_kernels.CHUNK_SCORES, shared_prefix.kernel_for
    flash_kernels.CHUNK_SCORES, shared_prefix.kernel_for = scores, lambda q: Chunked()
    try:
        q, k, v = states(plan, seed=seed)
        found, wanted = with_gradients(two_regions(plan), q, k, v), with_gradients(dense(plan), q, k, v)
    finally:
        flash_kernels.CHUNK_SCORES, shared_prefix.kernel_for = before
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)


def test_kernels_by_device_and_dtype(monkeypatch):
    assert isinstance(kernel_for(torch.empty(1, 8)), CpuFlash)
    assert isinstance(kernel_for(torch.empty(1, 8, dtype=torch.float64)), CpuFlash)
    assert isinstance(kernel_for(torch.empty(1, 8, dtype=torch.complex64)), Chunked)
    assert isinstance(kernel_for(torch.empty(1, 8, device="meta")), Chunked)
    monkeypatch.setattr(CpuFlash, "operators", ("_an_operator_of_another_release",))
    assert isinstance(kernel_for(torch.empty(1, 8)), Chunked)


def test_the_kernel_in_use_is_said_once(caplog):
    flash_kernels._log_once.cache_clear()
    with caplog.at_level("INFO", logger="pixelreasoner"):
        for _ in range(3):
            kernel_for(torch.empty(2, 24))
    assert [r.getMessage() for r in caplog.records] == [
        "shared-prefix attention: CpuFlash on cpu, float32, heads of width 24"
    ]


def test_it_cannot_be_differentiated_twice():
    plan = PrefixPlan((GroupSpan(6, (3, 4)),))
    q, k, v = states(plan)
    out = two_regions(plan)(q, k, v)
    (slope,) = torch.autograd.grad((out**2).sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_a_plan_is_of_one_row_of_its_length():
    plan = PrefixPlan((GroupSpan(6, (3, 4)),))
    q, k, v = states(plan)
    with pytest.raises(AssertionError, match="a plan of 13"):
        two_regions(plan)(q[:, :, :-1], k[:, :, :-1], v[:, :, :-1])
    for name, value in (("dropout", 0.1), ("sliding_window", 4)):
        with pytest.raises(AssertionError, match=r"dropout|window"):
            two_regions(plan, **{name: value})(q, k, v)


class TestCuda:
    """What can be said without the device: operators are called as they are declared, layouts as they are
    documented, and the results put where they belong."""

    def region(self):
        return Region(q_start=0, k_start=0, q_lengths=(3, 4), k_lengths=(3, 4), causal=True)

    def test_calls_fit_the_declarations(self):
        """On meta tensors operators check their arguments and return shapes."""
        q, k, v = (torch.empty(7, n, 16, dtype=torch.bfloat16, device="meta") for n in (4, 2, 2))
        out, lse = CudaFlash().forward(q, k, v, self.region(), SCALE)
        assert (out.shape, lse.shape) == ((7, 4, 16), (7, 4))
        gradients = CudaFlash().backward(out, q, k, v, out, lse, self.region(), SCALE)
        assert [g.shape for g in gradients] == [q.shape, k.shape, v.shape]

    @pytest.mark.parametrize("plan", [
        PrefixPlan((GroupSpan(5, (3, 4)),)),
        PrefixPlan((GroupSpan(4, (2, 2, 3)), GroupSpan(6), GroupSpan(2, (1, 5)))),
    ])  # fmt: skip
    def test_a_stand_in_for_the_operators_gives_the_right_answer(self, plan, monkeypatch):
        aten = SimpleNamespace(_flash_attention_forward=varlen, _flash_attention_backward=varlen_backward)
        monkeypatch.setattr(flash_kernels.torch, "ops", SimpleNamespace(aten=aten))
        monkeypatch.setattr(shared_prefix, "kernel_for", lambda q: CudaFlash())
        q, k, v = states(plan)
        found = with_gradients(two_regions(plan), q, k, v)
        monkeypatch.undo()
        for a, b in zip(found, with_gradients(dense(plan), q, k, v), strict=True):
            torch.testing.assert_close(a, b, atol=1e-13, rtol=1e-12)


def varlen(q, k, v, cum_q, cum_k, max_q, max_k, dropout, causal, debug, *, scale):
    """`aten::_flash_attention_forward` in words: [total, heads, width] in, lse [heads, total] out."""
    assert cum_q.dtype == cum_k.dtype == torch.int32
    assert (max_q, max_k) == (cum_q.diff().max(), cum_k.diff().max())
    out, lse = torch.zeros_like(q), q.new_zeros(q.shape[1], len(q))
    for a, b in zip(_pieces(cum_q), _pieces(cum_k), strict=True):
        scores = _scores(q[a], k[b], causal, scale)
        lse[:, a] = scores.logsumexp(-1)
        out[a] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), _repeated(v[b], q))
    return out, lse, None, None, None


def varlen_backward(
    grad, q, k, v, out, lse, cum_q, cum_k, max_q, max_k, dropout, causal, seed, unused, *, scale
):
    """`aten::_flash_attention_backward`: probabilities from the lse it is given, deltas from the out."""
    assert lse.is_contiguous()
    dq, dk, dv = (torch.zeros_like(x) for x in (q, k, v))
    delta = (grad * out).sum(-1).transpose(0, 1)
    for a, b in zip(_pieces(cum_q), _pieces(cum_k), strict=True):
        p = (_scores(q[a], k[b], causal, scale) - lse[:, a, None]).exp()
        ds = p * (torch.einsum("qhd,khd->hqk", grad[a], _repeated(v[b], q)) - delta[:, a, None]) * scale
        dq[a] = torch.einsum("hqk,khd->qhd", ds, _repeated(k[b], q))
        for into, weights, x in ((dk, ds, q[a]), (dv, p, grad[a])):
            into[b] = torch.einsum("hqk,qhd->khd", weights, x).unflatten(1, (k.shape[1], -1)).sum(2)
    return dq, dk, dv


def _scores(q, k, causal, scale):
    scores = torch.einsum("qhd,khd->hqk", q, _repeated(k, q)) * scale
    return scores.masked_fill(~torch.ones(scores.shape[1:]).tril().bool(), -torch.inf) if causal else scores


def _repeated(x, q):
    return x.repeat_interleave(q.shape[1] // x.shape[1], 1)


def _pieces(cum):
    return [slice(a, b) for a, b in zip(cum[:-1].tolist(), cum[1:].tolist(), strict=True)]
