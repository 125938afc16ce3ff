"""The recurrent layer of Qwen3.5 on the device, over completions that share a prompt, against its formula.

The formula is written out token by token in float64 (`models.attention.shared_recurrence`), for each
completion after a prompt of its own.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5GatedDeltaNet

from benchmarks.checks.outcome import Bound, Checks, Found, Setting, gap, short
from pixelreasoner.models.attention.shared_prefix import GroupSpan, PrefixPlan
from pixelreasoner.models.attention.shared_recurrence import SharedPrefixDeltaNet

PLAN = PrefixPlan((GroupSpan(70, (9, 40, 1)), GroupSpan(12, (5, 6))))
"""Beyond a chunk of 64 tokens, and short of one."""
LIMITS = {torch.float32: 2e-4, torch.bfloat16: 6e-2}
"""Of the output; transformers computes the rule in float32."""
GRADIENTS = {torch.float32: 2e-3, torch.bfloat16: 0.15}
EPSILON = 1e-6
"""In the norm of queries and keys."""


def checks(setting: Setting) -> Checks:
    return {
        f"recurrent layer, forked prompts, {short(dtype)}": partial(forked, setting, dtype)
        for dtype in setting.dtypes(torch.bfloat16)
    }


def forked(setting: Setting, dtype: torch.dtype) -> Found:
    """Outputs and all gradients; those of a prompt come through the states that it hands on."""
    layer = _layer().to(dtype)
    hidden = torch.randn(PLAN.n_tokens, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    towards = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1))

    ours = copy.deepcopy(layer).to(setting.device)
    ours.__class__ = SharedPrefixDeltaNet
    x = hidden.to(setting.device).requires_grad_()
    out = ours(x[None], shared_prefix=PLAN)[0]
    found = torch.autograd.grad(out, (x, *ours.parameters()), towards.to(out))

    exact = copy.deepcopy(layer).double()
    y = hidden.double().requires_grad_()
    wanted_out = _one_by_one(exact, y)
    wanted = torch.autograd.grad(wanted_out, (y, *exact.parameters()), towards.double())
    names = ("hidden", *(name for name, _ in exact.named_parameters()))
    gaps = {name: gap(a, b) for name, a, b in zip(names, found, wanted, strict=True)}
    worst = max(gaps, key=lambda name: gaps[name])
    return {
        "out": Bound(gap(out, wanted_out), LIMITS[dtype]),
        "gradient of the input": Bound(gaps["hidden"], GRADIENTS[dtype]),
        "worst gradient": Bound(gaps[worst], GRADIENTS[dtype]),
        "worst is of": worst,
    }


def _layer() -> Qwen3_5GatedDeltaNet:
    config: Any = Qwen3_5TextConfig(
        hidden_size=64, linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=32,
        linear_value_head_dim=32, linear_conv_kernel_dim=4, num_hidden_layers=4,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Qwen3_5GatedDeltaNet(config, 0)


def _one_by_one(layer: Any, hidden_TD: Tensor) -> Tensor:
    out, start = [], 0
    for group in PLAN.groups:
        prompt = list(range(start, start + group.prompt))
        at = start + group.prompt
        for row, length in enumerate(group.branches):
            read = _read(layer, hidden_TD[[*prompt, *range(at, at + length)]])
            out.append(read if row == 0 else read[group.prompt :])
            at += length
        start += group.n_tokens
    return torch.cat(out)


def _read(layer: Any, hidden_TD: Tensor) -> Tensor:
    """The layer's formula over one sequence."""
    n, width = len(hidden_TD), layer.conv_kernel_size
    before_CM = F.pad(layer.in_proj_qkv(hidden_TD).T, (width - 1, 0))
    mixed_TC = F.silu(F.conv1d(before_CM[None], layer.conv1d.weight, groups=layer.conv_dim)[0].T)
    q, k, v = mixed_TC.split([layer.key_dim, layer.key_dim, layer.value_dim], -1)
    repeats = layer.num_v_heads // layer.num_k_heads
    q_THK, k_THK = (_unit(x.view(n, -1, layer.head_k_dim)).repeat_interleave(repeats, 1) for x in (q, k))
    v_THV = v.view(n, -1, layer.head_v_dim)
    decay_TH = (-layer.A_log.exp() * F.softplus(layer.in_proj_a(hidden_TD) + layer.dt_bias)).exp()
    write_TH = layer.in_proj_b(hidden_TD).sigmoid()
    state_HVK = v_THV.new_zeros(layer.num_v_heads, layer.head_v_dim, layer.head_k_dim)
    out = []
    for t in range(n):
        state_HVK = decay_TH[t, :, None, None] * state_HVK
        missing_HV = v_THV[t] - torch.einsum("hvk,hk->hv", state_HVK, k_THK[t])
        state_HVK = state_HVK + torch.einsum("hv,hk->hvk", write_TH[t, :, None] * missing_HV, k_THK[t])
        out.append(torch.einsum("hvk,hk->hv", state_HVK, q_THK[t]) * layer.head_k_dim**-0.5)
    gate = layer.in_proj_z(hidden_TD).view(-1, layer.head_v_dim)
    return layer.out_proj(layer.norm(torch.stack(out).flatten(0, 1), gate).view(n, -1))


def _unit(x: Tensor) -> Tensor:
    return x * (x.square().sum(-1, keepdim=True) + EPSILON).rsqrt()
