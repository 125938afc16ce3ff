"""Attention on the device against plain float64 on the processor: outputs, log-sum-exps, gradients.

Shape legend: T tokens, H query heads, K key-value heads, D head width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.checks.outcome import Bound, Checks, Found, Setting, gap, short
from pixelreasoner.models.attention.cascade_attention import CascadePlan, Piece, cascade_attention
from pixelreasoner.models.attention.cascade_decoding import Decoding
from pixelreasoner.models.attention.flash_kernels import CudaFlash, kernel_for
from pixelreasoner.models.attention.shared_prefix import (
    GroupSpan,
    PrefixPlan,
    dense_attention,
    shared_prefix_attention,
)
from pixelreasoner.models.attention.vision_attention import packed_attention
from pixelreasoner.models.kv_pool import KeyValuePool

HEADS = ((28, 4, 128), (16, 2, 128), (32, 8, 128), (6, 6, 32), (16, 4, 256))
"""Query heads, key-value heads, width: of Qwen2.5-VL-7B and 3B, Qwen3-VL-4B and 8B, nano, Qwen3.5-9B."""
PLAN = PrefixPlan((GroupSpan(257, (61, 130, 7)), GroupSpan(40), GroupSpan(96, (33, 64, 1, 90))))
SMALL_PLAN = PrefixPlan((GroupSpan(65, (21, 30, 7)), GroupSpan(10), GroupSpan(33, (9, 1))))
LIMITS = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.2e-2}
"""Of the norm of a difference; bf16 alone rounds each number by up to 4e-3."""
TOWERS = {
    "windows of Qwen2.5": (80, (64,) * 20 + (32, 16, 64, 48) * 5),
    "pictures of Qwen3": (72, (700, 300, 300)),
}


def checks(setting: Setting) -> Checks:
    """By name."""
    found: dict[str, Callable[[], Found]] = {}
    dtypes = setting.dtypes(torch.bfloat16, torch.float16)
    for heads, dtype in itertools.product(HEADS, dtypes):
        name = f"shared prefix, heads {heads}, {short(dtype)}"
        found[name] = partial(shared_prefix, setting, heads, dtype)
    if setting.on_card:
        found["flash kernel, heads 256 wide, bf16"] = partial(wide_flash, setting)
    for tower, dtype in itertools.product(TOWERS, dtypes[:2]):
        found[f"vision tower, {tower}, {short(dtype)}"] = partial(vision, setting, *TOWERS[tower], dtype)
    for heads, dtype in itertools.product(HEADS[::2], dtypes[:2]):
        found[f"cascade, heads {heads}, {short(dtype)}"] = partial(cascade, setting, heads, dtype)
    return found


def shared_prefix(setting: Setting, heads: tuple[int, int, int], dtype: torch.dtype) -> Found:
    """Rows of groups that share prompts: output, log-sum-exp and gradients against one dense softmax."""
    plan = SMALL_PLAN if setting.tiny else PLAN
    states = _states(plan.n_tokens, heads, dtype)
    kernel = kernel_for(states[0].to(setting.device))
    wide = dtype == torch.float32 or heads[2] > CudaFlash.max_width
    wanted = "CpuFlash" if not setting.on_card else "Chunked" if wide else "CudaFlash"
    assert type(kernel).__name__ == wanted, f"{type(kernel).__name__} in place of {wanted}"
    return {"kernel": wanted, "tokens": plan.n_tokens, **_against_dense(setting, states, plan, kernel)}


def wide_flash(setting: Setting) -> Found:
    """Whether PyTorch's kernel takes wider heads on this card than the package gives it: it then could."""
    width = 256
    states = [x.to(setting.device) for x in _states(PLAN.n_tokens, (16, 4, width), torch.bfloat16)]
    try:
        q, k, v = (x[0].transpose(0, 1) for x in states)
        out, lse = CudaFlash().forward(q, k, v, PLAN.own, width**-0.5)
        dq, *_ = CudaFlash().backward(torch.ones_like(out), q, k, v, out, lse, PLAN.own, width**-0.5)
        torch.cuda.synchronize(setting.device)
    except RuntimeError as e:
        return {"taken": False, "reason": str(e).splitlines()[0]}
    return {"taken": bool(dq.isfinite().all())}


def vision(setting: Setting, width: int, lengths: tuple[int, ...], dtype: torch.dtype) -> Found:
    """Segments of a vision tower, each attending to itself: one call for all of a length, against a loop."""
    lengths = tuple(max(1, n // 4) for n in lengths) if setting.tiny else lengths
    total, n_heads, scale = sum(lengths), 4 if setting.tiny else 16, width**-0.5
    states = _states(total, (n_heads, n_heads, width), dtype)
    ends = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)

    def packed(*qkv: Tensor) -> Tensor:
        ours = packed_attention(nn.Identity(), *qkv, scaling=scale, cu_seq_lens_q=ends.to(qkv[0].device))
        return ours[0]

    def looped(*qkv: Tensor) -> Tensor:
        parts = zip(*(x.split(lengths, 2) for x in qkv), strict=True)
        return torch.cat([F.scaled_dot_product_attention(*part, scale=scale) for part in parts], 2).transpose(
            1, 2
        )

    found = _with_gradients(packed, [x.to(setting.device) for x in states])
    exact = _with_gradients(looped, [x.double() for x in states])
    return {"patches": total, **_bounds(found, exact, dtype)}


def cascade(setting: Setting, heads: tuple[int, int, int], dtype: torch.dtype) -> Found:
    """One pass of sampling: rows of two prompts that get a token each, a prompt, and a result of a tool."""
    n_heads, n_kv, width = heads
    prompts, held, prompt_of = (150, 301), (0, 31, 77, 20, 3), (1, 0, 1, 1, 0)
    if setting.tiny:
        prompts, held = (15, 31), (0, 3, 7, 2, 3)
    make = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=make).to(dtype)

    def pool(rows: int, tokens: int) -> tuple[KeyValuePool, Tensor]:
        made = KeyValuePool(n_layers=1)
        made.reserve(rows, tokens)
        here = made.layer(0, random(n_kv, 1, width).to(setting.device))
        values = random(*here.shape)
        here.copy_(values)
        return made, values

    (prompt_pool, prompt_kv), (row_pool, row_kv) = pool(2, max(prompts)), pool(7, max(held) + 40)
    piece = Piece(row_pool, slot=5, start=4, n_tokens=17, prompt=(0, prompts[0]))
    n = len(held) + piece.n_tokens
    q, k, v = (random(1, h, n, width) for h in (n_heads, n_kv, n_kv))
    plan = CascadePlan(prompt_pool, row_pool, Decoding(held, prompt_of, prompts), [piece], setting.device)
    module: Any = SimpleNamespace(layer_idx=0, num_key_value_groups=n_heads // n_kv, is_causal=True)
    scale = width**-0.5
    on = [x.to(setting.device) for x in (q, k, v)]
    out = cascade_attention(module, *on, scaling=scale, plan=plan)[0][0].cpu()

    def exact(token: int, row: int, first: int, count: int, prompt: int) -> Tensor:
        """Of a token whose row held `first` tokens before the pass; `count` of the row's are in it."""
        new = [x[0, :, token - count + 1 : token + 1] for x in (k, v)]
        seen = [
            torch.cat([prompt_kv[i][prompt, :, : prompts[prompt]], row_kv[i][row, :, :first], new[i]], 1)
            for i in (0, 1)
        ]
        keys, values = (x.double().repeat_interleave(n_heads // n_kv, 0) for x in seen)
        weights = (torch.einsum("hd,hsd->hs", q[0, :, token].double(), keys) * scale).softmax(-1)
        return torch.einsum("hs,hsd->hd", weights, values)

    decoding = [exact(i, i, held[i], 1, prompt_of[i]) for i in range(len(held))]
    read = [exact(len(held) + i, 5, 4, i + 1, 0) for i in range(piece.n_tokens)]
    most = LIMITS[dtype]
    return {
        "decoding": Bound(gap(out[: len(held)], torch.stack(decoding)), most),
        "reading": Bound(gap(out[len(held) :], torch.stack(read)), most),
    }


def _states(n_tokens: int, heads: tuple[int, int, int], dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys and values as transformers hands them over, [1, H or K, T, D], on the processor."""
    make = torch.Generator().manual_seed(0)
    counts = (heads[0], heads[1], heads[1])
    return [torch.randn(1, n_tokens, n, heads[2], generator=make).to(dtype).transpose(1, 2) for n in counts]


def _against_dense(setting: Setting, states: list[Tensor], plan: PrefixPlan, kernel: Any) -> Found:
    scale, dtype = states[0].shape[-1] ** -0.5, states[0].dtype
    options: dict[str, Any] = {"plan": plan, "scaling": scale}
    on = [x.to(setting.device) for x in states]
    found = _with_gradients(lambda *x: shared_prefix_attention(nn.Identity(), *x, **options)[0], on)
    exact = _with_gradients(
        lambda *x: dense_attention(nn.Identity(), *x, **options)[0], [x.double() for x in states]
    )
    q, k, v = (x[0].transpose(0, 1) for x in on)
    with torch.no_grad():
        _, lse_TH = kernel.forward(q, k, v, plan.own, scale)
    most = 1e-5 if dtype == torch.float32 else 2e-3
    return {**_bounds(found, exact, dtype), "lse": Bound(gap(lse_TH, _own_lse(states, plan, scale)), most)}


def _own_lse(states: list[Tensor], plan: PrefixPlan, scale: float) -> Tensor:
    """Of each segment with itself, [T, H], in float64."""
    q, k = states[0][0].double(), states[1][0].double()
    k = k.repeat_interleave(len(q) // len(k), 0)
    out = []
    for at, of in plan.own.pieces():
        scores = q[:, at] @ k[:, of].mT * scale
        later = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
        out.append(scores.masked_fill(later, -torch.inf).logsumexp(-1))
    return torch.cat(out, 1).T


def _with_gradients(attention: Callable[..., Tensor], states: list[Tensor]) -> list[Tensor]:
    """The output, and the gradients of queries, keys and values for a direction of its own."""
    leaves = [x.detach().requires_grad_() for x in states]
    out = attention(*leaves)
    towards = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    towards = towards.to(torch.bfloat16).to(device=out.device, dtype=out.dtype)
    return [out, *torch.autograd.grad(out, leaves, towards)]


def _bounds(found: list[Tensor], exact: list[Tensor], dtype: torch.dtype) -> dict[str, Bound]:
    names = ("out", "dq", "dk", "dv")
    pairs = zip(names, found, exact, strict=True)
    return {name: Bound(gap(a, b), LIMITS[dtype]) for name, a, b in pairs}
