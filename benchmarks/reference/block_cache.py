"""A key-value cache that grows in blocks, so that a new token needs no copy of the old ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

BLOCK_TOKENS = 64
"""Number of tokens that each growth adds."""


class BlockLayer(DynamicLayer):
    """Keys and values of one layer, [B, H, K, D], as views of slightly larger buffers."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append along K; returns everything so far."""
        new = key_states.shape[2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.used = 0
            self.buffers = tuple(_room(x, new + BLOCK_TOKENS) for x in (key_states, value_states))
        elif self.used + new > self.buffers[0].shape[2]:
            grown = self.used + new + BLOCK_TOKENS
            self.buffers = tuple(_moved(b[:, :, : self.used], grown) for b in self.buffers)
        at = slice(self.used, self.used + new)
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, at] = states
        self.used += new
        return self._show()

    def select(self, rows: Tensor) -> None:
        """Keep (or repeat) these rows, in this order."""
        grown = self.buffers[0].shape[2]
        self.buffers = tuple(_moved(b[:, :, : self.used].index_select(0, rows), grown) for b in self.buffers)
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = (buffer[:, :, : self.used] for buffer in self.buffers)
        self.keys, self.values = keys, values
        return keys, values


def _room(like: Tensor, tokens: int) -> Tensor:
    b, h, _, d = like.shape
    return torch.empty((b, h, tokens, d), dtype=like.dtype, device=like.device)


def _moved(kept: Tensor, tokens: int) -> Tensor:
    out = _room(kept, tokens)
    out[:, :, : kept.shape[2]] = kept
    return out


class BlockCache(Cache):
    """A transformers cache of block layers."""

    def __init__(self, n_layers: int) -> None:
        super().__init__(layers=[BlockLayer() for _ in range(n_layers)])

    def select(self, rows: Tensor) -> None:
        """Keep (or repeat) these rows of the batch, in this order."""
        for layer in self.layers:
            assert isinstance(layer, BlockLayer)
            layer.select(rows)
