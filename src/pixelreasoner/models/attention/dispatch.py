"""The attention and the recurrent layers of a decoder: by the plan that a pass brings along, or as they were.

The loader sets it once, for good: gradient checkpointing asks again for the implementation while it replays a
layer in the backward pass, and a switch around a pass would be gone by then.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from pixelreasoner.models.attention.cascade_attention import AttentionPlan, cascade_attention
from pixelreasoner.models.attention.plain_attention import plain_attention
from pixelreasoner.models.attention.shared_prefix import PrefixPlan, shared_prefix_attention
from pixelreasoner.models.recurrent_states import is_recurrent

ATTENTION = "pixelreasoner"
PLANS = ("shared_prefix", "cascade")
"""The keyword arguments of a pass that say who attends to whom."""


def decoder_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    shared_prefix: PrefixPlan | None = None,
    cascade: AttentionPlan | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """An attention function for transformers: query [B, H, T, D], key and value [B, K, T, D].

    The plans are handed to the decoder as keyword arguments, which passes them on to every layer. With a plan
    `attention_mask` is empty (`VisionLanguageModel.forward` sees to it). Returns [B, T, H, D].
    """
    if shared_prefix is not None:
        return shared_prefix_attention(module, query, key, value, plan=shared_prefix, **options)
    if cascade is not None:
        return cascade_attention(module, query, key, value, plan=cascade, **options)
    return plain_attention(module, query, key, value, attention_mask, **options)


AttentionInterface.register(ATTENTION, decoder_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def use_plans(decoder: Any) -> None:
    """Switch a transformers decoder, in place; without a plan it computes what it did, by the same calls."""
    # The public setter would look for a package of that name.
    decoder.config._attn_implementation = ATTENTION
    if is_recurrent(decoder.config):
        # Late: it needs the model's code, which other families do without.
        from pixelreasoner.models.attention.shared_recurrence import use_shared_recurrence

        use_shared_recurrence(decoder)


def knows_plans(decoder: Any) -> bool:
    """Whether the decoder's layers look at a plan; others would silently let all tokens attend."""
    return decoder.config._attn_implementation == ATTENTION
