"""Packed attention for vision towers: one call per distinct segment length instead of one per image.

transformers gives flash-style attention functions the cumulative segment lengths, and loops in Python
over images (or windows) for every other kind. Registered under a name that contains "flash", this one
gets the lengths and batches equal segments, on stock scaled-dot-product attention: the numbers are the
same, the calls are few.

Shape legend: S packed patches, N segments of one length, L that length, H heads, D head width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

PACKED_FLASH = "pixelreasoner_packed_flash"


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
    lengths = (cu_seq_lens_q[1:] - cu_seq_lens_q[:-1]).tolist()
    if len(set(lengths)) == 1:
        n, h, d = len(lengths), query_1HSD.shape[1], query_1HSD.shape[3]
        q, k, v = (x[0].view(h, n, -1, d).transpose(0, 1) for x in (query_1HSD, key_1HSD, value_1HSD))
        out = F.scaled_dot_product_attention(q, k, v, scale=scaling)
        return out.transpose(1, 2).reshape(1, -1, h, d), None
    starts = cu_seq_lens_q[:-1]
    device = query_1HSD.device
    length_of = torch.tensor(lengths, device=device)
    pieces, order = [], []
    for length in sorted(set(lengths)):
        index = (starts[length_of == length].long()[:, None] + torch.arange(length, device=device)).flatten()
        q, k, v = (
            x[0][:, index].view(x.shape[1], -1, length, x.shape[3]).transpose(0, 1)
            for x in (query_1HSD, key_1HSD, value_1HSD)
        )
        out_NHLD = F.scaled_dot_product_attention(q, k, v, scale=scaling)
        pieces.append(out_NHLD.transpose(1, 2).reshape(-1, query_1HSD.shape[1], query_1HSD.shape[3]))
        order.append(index)
    inverse = torch.argsort(torch.cat(order))
    return torch.cat(pieces)[inverse].unsqueeze(0), None


AttentionInterface.register(PACKED_FLASH, packed_attention)


def use_packed_attention(tower: nn.Module) -> None:
    """Switch a transformers vision tower to packed attention, in place."""
    for module in tower.modules():
        config = getattr(module, "config", None)
        if config is not None:
            config._attn_implementation = PACKED_FLASH
