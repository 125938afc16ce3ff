"""How much memory the group engine takes for keys and values, from the sizes of model and conversations."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pixelreasoner.models.kv_pool import in_blocks
from pixelreasoner.models.memory import state_bytes, token_bytes
from pixelreasoner.models.roofline import DecoderSize
from pixelreasoner.policy.prefix_cache import SPARE_PROMPTS

GROWTH = 1.5
"""A pool of keys and values that grows takes half as much again (`kv_pool.KeyValuePool.grown`)."""


@dataclass(frozen=True)
class Sampled:
    """What is sampled together."""

    batch: int
    """Conversations that run together; as many again are cached."""
    rollouts: int
    """Conversations with the same prompt."""
    prompt: int
    """Tokens."""
    completion: int
    """The most tokens that a conversation adds."""


def kv_bytes(decoder: DecoderSize, dtype: torch.dtype, sampled: Sampled, budget: int) -> int:
    """Of keys, values and recurrent states while conversations are sampled, at the highest.

    The pools hold as many as they need, and no more than `budget`; while they grow, one layer of them is
    there twice.
    """
    prompts = -(-sampled.batch // sampled.rollouts) + SPARE_PROMPTS
    tokens = prompts * in_blocks(sampled.prompt)
    tokens += 2 * sampled.batch * in_blocks(round(GROWTH * sampled.completion))
    pools = min(budget, tokens * token_bytes(decoder, dtype))
    return round(pools * (1 + 1 / decoder.layers)) + (2 * sampled.batch + prompts) * state_bytes(decoder)
