"""Packed attention for vision towers: one call per run of equal segments instead of one per image.

transformers gives flash-style attention functions the cumulative segment lengths, and loops in Python
over images (or windows) for every other kind. Registered under a name that contains "flash", this one
gets the lengths and batches segments of equal length, on stock scaled-dot-product attention: the numbers
are the same, the calls are few.

Shape legend: S packed patches, N segments of one length, L that length, H heads, D head width.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary
from transformers import AttentionInterface

PACKED_FLASH = "pixelreasoner_packed_flash"
MAX_RUNS = 16
"""Runs of equal segments that are worth a call each; beyond, segments are first brought into order."""


def packed_attention(
    module: nn.Module,
    query_1HSD: Tensor,
    key_1HSD: Tensor,
    value_1HSD: Tensor,
    attention_mask: Tensor | None = None,
    *,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor,
    **_: Any,
) -> tuple[Tensor, None]:
    """Full attention within each segment; returns [1, S, H, D] as transformers expects."""
    plan = _PLANS.get(cu_seq_lens_q)
    if plan is None:
        plan = _PLANS[cu_seq_lens_q] = _plan(cu_seq_lens_q)
    states = [x[0] if plan.order is None else x[0][:, plan.order] for x in (query_1HSD, key_1HSD, value_1HSD)]
    pieces, at = [], 0
    for n, length in plan.runs:
        q, k, v = (
            x_HSD[:, at : at + n * length].unflatten(1, (n, length)).transpose(0, 1) for x_HSD in states
        )
        out_NHLD = _attend(q, k, v, scaling)
        pieces.append(out_NHLD.transpose(1, 2).flatten(0, 1))
        at += n * length
    out_SHD = torch.cat(pieces)
    return (out_SHD if plan.inverse is None else out_SHD[plan.inverse]).unsqueeze(0), None


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> Tensor:
    """[N, H, L, D] of each."""
    if q.is_meta:
        # Without a device PyTorch would choose the form that holds all scores, which no device with a fused
        # kernel takes; a dry run (`models.dry_run`) asks what those hold.
        return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, scale=scale)[0]
    return F.scaled_dot_product_attention(q, k, v, scale=scale)


@dataclass(frozen=True, eq=False)
class _Plan:
    """How the segments of one tower pass are batched."""

    runs: list[tuple[int, int]]
    """Number of segments and their length, in patches; run after run."""
    order: Tensor | None = None
    """[S] brings segments of one length together; None when they stand together already."""
    inverse: Tensor | None = None


# All layers of a pass share one tensor of lengths (Qwen2.5-VL: two), and looking at it waits for the device.
_PLANS: WeakIdKeyDictionary = WeakIdKeyDictionary()


def _plan(cu_seq_lens: Tensor) -> _Plan:
    lengths = cu_seq_lens.diff().tolist()
    runs = _runs(lengths)
    if len(runs) <= MAX_RUNS:
        # Slices: gathering by index would cost more in the backward pass than the attention itself.
        # `VisionLanguageModel.encode` sorts pictures by size, so only windows are many and mixed.
        return _Plan(runs)
    length_S = torch.repeat_interleave(torch.tensor(lengths), torch.tensor(lengths))
    order = torch.argsort(length_S, stable=True).to(cu_seq_lens.device)
    return _Plan(_runs(sorted(lengths)), order, torch.argsort(order))


def _runs(lengths: list[int]) -> list[tuple[int, int]]:
    return [(len(list(run)), length) for length, run in itertools.groupby(lengths)]


AttentionInterface.register(PACKED_FLASH, packed_attention)


def use_packed_attention(tower: Any) -> None:
    """Switch a transformers vision tower to packed attention, in place."""
    # All its layers read the one config. The public setter would ask whether flash-attn is installed.
    tower.config._attn_implementation = PACKED_FLASH
