"""Attention over rows in which the completions of a group share their prompt, exact and on stock kernels.

A row holds several groups, one after the other, and each group's prompt once::

    [ prompt a | completion a1 | completion a2 | completion a3 ][ prompt b | completion b1 | completion b2 ]

A prompt attends to itself; a completion attends to its group's prompt and to itself, never to its siblings.
Those are two regions, each of which a stock kernel computes:

* own: every segment (prompt or completion) with itself, causally;
* across: all completions of a group with their prompt, without a mask, in one rectangular call. The prompt's
  keys and values are read where they lie, and never repeated.

The softmax of a completion's token is spread over both. With `out` and `lse` (the log-sum-exp of its
scores) of each, those of the whole are::

    lse = log(exp(lse_own) + exp(lse_across))
    out = out_own * exp(lse_own - lse) + out_across * exp(lse_across - lse)

A backward kernel rebuilds its probabilities as exp(score - lse) and needs the sum of out * gradient. Given
`out` and `lse` of the WHOLE it therefore returns its region's share of the exact gradients; they add up.

Shape legend: T tokens of the row, H query heads, K key-value heads, D head width.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.models.attention.flash_kernels import Chunked, Kernel, Region, kernel_for, kernel_on


@dataclass(frozen=True)
class AttentionRule:
    """How attention over packed rows is computed; the results agree up to rounding."""

    kernel: Literal["auto", "flash", "dense"] = "auto"
    """auto: PyTorch's flash kernel where there is one, else chunks of matrix products. flash: that kernel, or
    an error. dense: one softmax over the whole row with a [T, T] mask; what the others are tested against."""
    max_dense_tokens: int = 8192
    """The longest row that gets such a mask."""
    device: str | None = None
    """Type of the device whose kernel is taken; None: that of the states. For states without memory."""


DEFAULT_RULE = AttentionRule()


@dataclass(frozen=True)
class GroupSpan:
    """One group of a row, in tokens."""

    prompt: int
    """At least one."""
    branches: tuple[int, ...] = ()
    """What each completion adds to it, at least one token; a completion that adds nothing is left out."""

    @property
    def n_tokens(self) -> int:
        return self.prompt + sum(self.branches)


@dataclass(frozen=True)
class PrefixPlan:
    """Who attends to whom in a row: its groups, in order."""

    groups: tuple[GroupSpan, ...]

    @cached_property
    def own(self) -> Region:
        """Every segment of the row with itself."""
        lengths = tuple(n for group in self.groups for n in (group.prompt, *group.branches))
        return Region(q_start=0, k_start=0, q_lengths=lengths, k_lengths=lengths, causal=True)

    @cached_property
    def across(self) -> tuple[Region, ...]:
        """The completions of each group with their prompt."""
        starts = itertools.accumulate((group.n_tokens for group in self.groups), initial=0)
        return tuple(
            Region(
                q_start=start + group.prompt,
                k_start=start,
                q_lengths=(sum(group.branches),),
                k_lengths=(group.prompt,),
                causal=False,
            )
            for start, group in zip(starts, self.groups, strict=False)
            if group.branches
        )

    @property
    def n_tokens(self) -> int:
        return sum(group.n_tokens for group in self.groups)


def shared_prefix_attention(
    module: nn.Module,
    query_1HTD: Tensor,
    key_1KTD: Tensor,
    value_1KTD: Tensor,
    *,
    plan: PrefixPlan,
    scaling: float,
    dropout: float = 0.0,
    attention_rule: AttentionRule = DEFAULT_RULE,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of a row after its plan; returns [1, T, H, D], as attention functions of transformers do.

    Raises:
        ConfigError: `attention_rule` asks for a kernel that is not there, or for a mask that is too large.
    """
    _check(query_1HTD, plan, dropout, options)
    q, k, v = _autocast(query_1HTD, key_1KTD, value_1KTD)
    if attention_rule.kernel == "dense":
        _check_dense(plan, attention_rule)
        return dense_attention(module, q, k, v, plan=plan, scaling=scaling)
    q_THD, k_TKD, v_TKD = (x[0].transpose(0, 1) for x in (q, k, v))
    out_THD = _TwoRegions.apply(q_THD, k_TKD, v_TKD, plan, scaling, _kernel(q, attention_rule))
    assert isinstance(out_THD, Tensor)
    return out_THD.unsqueeze(0), None


def _kernel(q_1HTD: Tensor, rule: AttentionRule) -> Kernel:
    width = q_1HTD.shape[-1]
    kernel = kernel_for(q_1HTD) if rule.device is None else kernel_on(rule.device, q_1HTD.dtype, width)
    if rule.kernel == "flash" and isinstance(kernel, Chunked):
        dtype = str(q_1HTD.dtype).removeprefix("torch.")
        raise ConfigError(
            f"there is no flash attention kernel for {dtype} and heads of width {width} on "
            f"{q_1HTD.device.type}; set attention = 'auto' in the model's section, or another dtype"
        )
    return kernel


def _check_dense(plan: PrefixPlan, rule: AttentionRule) -> None:
    if plan.n_tokens > rule.max_dense_tokens:
        raise ConfigError(
            f"attention = 'dense' would build a mask of {plan.n_tokens} x {plan.n_tokens} tokens, and "
            f"max_dense_tokens is {rule.max_dense_tokens}; set attention = 'auto' in the model's section, "
            f"train on shorter rows, or raise max_dense_tokens"
        )


def dense_attention(
    module: nn.Module,
    query_1HTD: Tensor,
    key_1KTD: Tensor,
    value_1KTD: Tensor,
    *,
    plan: PrefixPlan,
    scaling: float,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """The same by one masked softmax over the whole row, with a [T, T] mask: the reference."""
    _check(query_1HTD, plan, dropout, options)
    q, k, v = _autocast(query_1HTD, key_1KTD, value_1KTD)
    mask_TT = _mask(plan, q.device)
    out_1HTD = F.scaled_dot_product_attention(q, k, v, attn_mask=mask_TT, scale=scaling, enable_gqa=True)
    return out_1HTD.transpose(1, 2), None


class _TwoRegions(torch.autograd.Function):
    """The equations at the top of this file."""

    @staticmethod
    def forward(
        ctx: Any, q_THD: Tensor, k_TKD: Tensor, v_TKD: Tensor, plan: PrefixPlan, scale: float, kernel: Kernel
    ) -> Tensor:
        out_THD, lse_TH = kernel.forward(q_THD, k_TKD, v_TKD, plan.own, scale)
        for region in plan.across:
            at, of = region.queries, region.keys
            far_out, far_lse = kernel.forward(q_THD[at], k_TKD[of], v_TKD[of], region, scale)
            # exp(lse_across - lse), of two numbers that may both be far from zero.
            share = torch.sigmoid(far_lse - lse_TH[at]).unsqueeze(-1)
            out_THD[at] = torch.lerp(out_THD[at].to(share.dtype), far_out.to(share.dtype), share)
            lse_TH[at] = torch.logaddexp(lse_TH[at], far_lse)
        ctx.save_for_backward(q_THD, k_TKD, v_TKD, out_THD, lse_TH)
        ctx.plan, ctx.scale, ctx.kernel = plan, scale, kernel
        return out_THD

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *_gradients(ctx, *grads), None, None, None


# The kernels cannot be differentiated twice. A function of its own, because the decorator hides the names of
# parameters, and a method has to keep those of its base class.
@once_differentiable
def _gradients(ctx: Any, grad_THD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of queries, keys and values."""
    q_THD, k_TKD, v_TKD, out_THD, lse_TH = ctx.saved_tensors
    plan, scale, kernel = ctx.plan, ctx.scale, ctx.kernel
    dq, dk, dv = kernel.backward(grad_THD, q_THD, k_TKD, v_TKD, out_THD, lse_TH, plan.own, scale)
    for region in plan.across:
        at, of = region.queries, region.keys
        far_dq, far_dk, far_dv = kernel.backward(
            grad_THD[at], q_THD[at], k_TKD[of], v_TKD[of], out_THD[at], lse_TH[at], region, scale
        )
        dq[at] += far_dq
        dk[of] += far_dk
        dv[of] += far_dv
    return dq, dk, dv


# The layers of a pass ask for the same mask, and it is large.
@lru_cache(maxsize=1)
def _mask(plan: PrefixPlan, device: torch.device) -> Tensor:
    """[T, T]: whether the token of the row attends to that of the column."""
    mask_TT = torch.zeros(plan.n_tokens, plan.n_tokens, dtype=torch.bool, device=device)
    for at, of in plan.own.pieces():
        mask_TT[at, of] = True
    mask_TT.tril_()
    for region in plan.across:
        mask_TT[region.queries, region.keys] = True
    return mask_TT


def _check(q_1HTD: Tensor, plan: PrefixPlan, dropout: float, options: dict[str, Any]) -> None:
    rows, _, n_tokens, _ = q_1HTD.shape
    assert (rows, n_tokens) == (1, plan.n_tokens), f"{rows} x {n_tokens} tokens, a plan of {plan.n_tokens}"
    assert dropout == 0.0, "the backward kernels are called without dropout"
    assert options.get("sliding_window") is None, "a window is not part of the two-region form"


def _autocast(*states: Tensor) -> list[Tensor]:
    """To the dtype a stock attention call would be given here; norms leave queries and keys in float32."""
    device = states[0].device.type
    if device == "meta":  # has no autocast of its own; a dry run sets the CPU's
        device = "cpu"
    if not torch.is_autocast_enabled(device):
        return list(states)
    return [x.to(torch.get_autocast_dtype(device)) for x in states]
