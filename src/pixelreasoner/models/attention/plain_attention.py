"""Stock attention of rows that are each causal, kept off PyTorch's slow path."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward


def plain_attention(
    module: nn.Module,
    query_BHTD: Tensor,
    key_BKSD: Tensor,
    value_BKSD: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Transformers' "sdpa" attention; returns [B, T, H, D]."""
    if attention_mask is None and lacks_shared_heads(query_BHTD, key_BKSD):
        out_BHTD = repeated_heads(query_BHTD, key_BKSD, value_BKSD, scaling=scaling, dropout=dropout)
        return out_BHTD.transpose(1, 2).contiguous(), None
    return sdpa_attention_forward(
        module, query_BHTD, key_BKSD, value_BKSD, attention_mask, dropout=dropout, scaling=scaling, **options
    )


def lacks_shared_heads(query_BHTD: Tensor, key_BKSD: Tensor) -> bool:
    """Whether a stock call would build all scores, because its fused kernel knows no shared key heads.

    On CUDA only the flash kernel knows them, and it takes no float32.
    """
    return (
        query_BHTD.is_cuda and query_BHTD.dtype == torch.float32 and query_BHTD.shape[1] > key_BKSD.shape[1]
    )


def repeated_heads(
    query_BHTD: Tensor, key_BKSD: Tensor, value_BKSD: Tensor, *, scaling: float, dropout: float = 0.0
) -> Tensor:
    """Causal attention [B, H, T, D] with keys and values repeated for each query head."""
    n = query_BHTD.shape[1] // key_BKSD.shape[1]
    key, value = (x.repeat_interleave(n, 1) for x in (key_BKSD, value_BKSD))
    # As transformers has it: a single query attends to all keys.
    return F.scaled_dot_product_attention(
        query_BHTD, key, value, dropout_p=dropout, is_causal=query_BHTD.shape[2] > 1, scale=scaling
    )
