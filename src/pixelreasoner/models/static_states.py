"""What a decoder with recurrent layers keeps of many sequences, in fixed memory (`models.static_steps`).

Each sequence has a row: a state and the inputs of the convolution for each recurrent layer, keys and values
from token 0 on for each layer that attends. Rows behind the last sequence are inert: a step of more rows than
there are sequences writes into them, and what was there is overwritten when a sequence comes.

Shape legend: B sequences, R rows of a step, padded, H query heads, K key-value heads, G = H / K, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from pixelreasoner.models.attention.cascade_decoding import attend, bias, on_ladder, part_of
from pixelreasoner.models.graphs import Capture
from pixelreasoner.models.kv_pool import KeyValuePool, in_blocks
from pixelreasoner.models.recurrent_states import RECURRENT, SequenceState
from pixelreasoner.models.static_steps import StaticStep, StaticSteps

if TYPE_CHECKING:
    from pixelreasoner.models.vlm import VisionLanguageModel


SPARE_TOKENS = 512
"""Room that a row gets beyond what it needs: each time it grows, all rows are copied and graphs given up."""


@dataclass(frozen=True)
class _Shape:
    rows: int
    tokens: int

    @property
    def size(self) -> int:
        return self.rows * self.tokens

    def holds(self, other: _Shape) -> bool:
        return self.rows >= other.rows and self.tokens >= other.tokens


class StaticStateBatch:
    """Sequences that are read together, one token each at a time (as `recurrent_states.StateBatch`)."""

    def __init__(self, model: VisionLanguageModel, capture: Capture | None = None) -> None:
        """An empty one; steps are captured when `capture` is given."""
        self._model = model
        self._kinds: list[str] = list(model.decoder.config.layer_types)
        self._held = KeyValuePool(len(self._kinds))
        self._states: dict[int, tuple[Tensor, Tensor]] = {}
        self._version = 0
        self._n_tokens: list[int] = []
        self.steps: StaticSteps[_Shape] = StaticSteps(model.decoder, capture)

    def __len__(self) -> int:
        return len(self._n_tokens)

    @property
    def n_bytes(self) -> int:
        tensors = [x for pair in self._states.values() for x in pair]
        tensors += [self._held.layer(i) for i in self._attending] if self._states else []
        return sum(x.numel() * x.element_size() for x in tensors)

    @property
    def _attending(self) -> list[int]:
        return [i for i, kind in enumerate(self._kinds) if kind != RECURRENT]

    @property
    def _room(self) -> int:
        return max(self._n_tokens, default=0)

    def add(self, states: Sequence[SequenceState]) -> None:
        """Put sequences behind those that are there; `states` are not changed."""
        if not states:
            return
        start, n = len(self), len(self) + len(states)
        tokens = max(self._room, *(state.n_tokens for state in states)) + 1
        self._resize(max(n, self._held.rows), self._grown(tokens), like=states[0])
        for row, state in enumerate(states, start):
            for index, (kind, (a, b)) in enumerate(zip(self._kinds, state.layers, strict=True)):
                if kind == RECURRENT:
                    first, second = self._states[index]
                    first[row], second[row] = a[0], b[0]
                else:
                    held = self._held.layer(index)
                    held[0, row, :, : state.n_tokens], held[1, row, :, : state.n_tokens] = a[0], b[0]
        self._n_tokens += [state.n_tokens for state in states]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all sequences but those of `rows`, in that order."""
        room, n = self._room, len(rows)
        self._n_tokens = [self._n_tokens[row] for row in rows]
        start = next((i for i, row in enumerate(rows) if row != i), n)
        if start == n:
            return
        index = torch.tensor(rows[start:], dtype=torch.long, device=self._model.device)
        for pair in self._states.values():
            for x in pair:
                x[start:n] = x[index]
        for layer in self._attending:
            held = self._held.layer(layer)[:, :, :, :room]
            held[:, start:n] = held[:, index]

    def state(self, row: int) -> SequenceState:
        """A copy of what is kept of one sequence."""
        n, one = self._n_tokens[row], slice(row, row + 1)
        pairs: list[tuple[Tensor, Tensor]] = []
        for index, kind in enumerate(self._kinds):
            if kind == RECURRENT:
                first, second = self._states[index]
                pairs.append((first[one].clone(), second[one].clone()))
            else:
                keys, values = self._held.layer(index)[:, one, :, :n]
                pairs.append((keys.clone(), values.clone()))
        return SequenceState(tuple(pairs), n)

    def trim(self) -> bool:
        """Give spare memory back; whether there was some."""
        rows, tokens = len(self), in_blocks(self._room + 1)
        if not self._states or (rows, tokens) == (self._held.rows, self._held.tokens):
            return False
        if rows:
            self._resize(rows, tokens)
        else:
            self._held, self._states = KeyValuePool(len(self._kinds)), {}
            self._version += 1
        return True

    def _grown(self, tokens: int) -> int:
        """Room for so many tokens of a sequence, with some to spare where there is too little."""
        return self._held.tokens if tokens <= self._held.tokens else in_blocks(tokens + SPARE_TOKENS)

    def _resize(self, rows: int, tokens: int, like: SequenceState | None = None) -> None:
        """Make room for exactly so much; `like` is a sequence to be kept, before there is any."""
        if (rows, tokens) != (self._held.rows, self._held.tokens):
            self._held.resize(rows, tokens)
        if like is not None and not self._states:
            for index in self._attending:
                self._held.layer(index, self._as_attended(like.layers[index][0]))
            self._states = {
                index: (_zeros(a, rows), _zeros(b, rows))
                for index, (kind, (a, b)) in enumerate(zip(self._kinds, like.layers, strict=True))
                if kind == RECURRENT
            }
            self._version += 1
        both = min(rows, len(self))
        for index, pair in self._states.items():
            if len(pair[0]) != rows:
                first, second = (_zeros(x, rows) for x in pair)
                first[:both], second[:both] = pair[0][:both], pair[1][:both]
                self._states[index] = first, second
                self._version += 1

    def _as_attended(self, key: Tensor) -> Tensor:
        """In the format in which queries come: autocast rounds them, and what they are compared with."""
        device = key.device.type
        return key.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else key

    # A step

    def read_next(self, token_B: Sequence[int], position_B: Sequence[int]) -> Tensor:
        """Read one token of each sequence; returns its hidden states [B, D], which last until the next call.

        `position_B` are M-RoPE positions; the three coordinates agree on text.
        """
        n = len(self)
        if self._room >= self._held.tokens:
            self._resize(self._held.rows, self._grown(self._room + 1))
        shape = _Shape(min(on_ladder(n), self._held.rows), part_of(self._held.tokens, self._room + 1))
        shape = self.steps.choose(shape, (self._held.version, self._version))
        # Inert rows read token 0 at position 0, and hold nothing.
        values = np.zeros((3, shape.rows), np.int64)
        values[:, :n] = token_B, position_B, self._n_tokens
        hidden_RD = self.steps.run(shape, values.ravel(), partial(self._step, shape))
        self._n_tokens = [tokens + 1 for tokens in self._n_tokens]
        return hidden_RD[:n]

    def _step(self, shape: _Shape) -> StaticStep:
        from pixelreasoner.models.vlm import Batch

        device, rows = self._model.device, shape.rows
        nothing_R1 = torch.zeros(rows, 1, dtype=torch.bool, device=device)
        cache, held = self._cache(rows), self._held

        def compute(values: Tensor) -> Tensor:
            ids_R, position_R, held_R = values.split([rows, rows, rows])
            embeds_R1D = self._model.decoder.embed_tokens(ids_R[:, None])
            position_3R1 = position_R[None, :, None].expand(3, -1, 1)
            batch = Batch(embeds_R1D, nothing_R1, position_3R1, nothing_R1, [])
            return self._model(batch, cache=cache, cascade=_OwnTokens.of(held, held_R, shape))[:, 0]

        return StaticStep(3 * rows, device, compute)

    def _cache(self, rows: int) -> DynamicCache:
        """transformers' cache over the first rows; its recurrent layers write into them."""
        cache: Any = DynamicCache(config=self._model.decoder.config)
        for index, kind in enumerate(self._kinds):
            if kind == RECURRENT:
                first, second = (x[:rows] for x in self._states[index])
                cache.update_conv_state(first, index, conv_kernel_size=first.shape[-1])
                cache.update_recurrent_state(second, index)
                cache.layers[index].conv_states[0] = first
                cache.layers[index].recurrent_states[0] = second
            else:
                cache.layers[index] = _KeptElsewhere()
        return cache


class _KeptElsewhere(DynamicLayer):
    """Keys and values are stored by the attention (`_OwnTokens`)."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        return key_states, value_states


@dataclass(frozen=True, eq=False)
class _OwnTokens:
    """The plan of a step: each row attends to its own tokens, the new one included."""

    held: KeyValuePool
    row_R: Tensor
    held_R: Tensor
    bias: Tensor
    shape: _Shape

    @classmethod
    def of(cls, held: KeyValuePool, held_R: Tensor, shape: _Shape) -> _OwnTokens:
        row_R = torch.arange(shape.rows, device=held_R.device)
        return cls(held, row_R, held_R, bias(held_R + 1, shape.tokens), shape)

    def attend(self, module: Any, q_RH1D: Tensor, k_RK1D: Tensor, v_RK1D: Tensor, scale: float) -> Tensor:
        """Store the rows' keys and values in one layer; returns the attention output [R, 1, H, D]."""
        held = self.held.layer(module.layer_idx)
        held[0][self.row_R, :, self.held_R] = k_RK1D[:, :, 0]
        held[1][self.row_R, :, self.held_R] = v_RK1D[:, :, 0]
        keys, values = held[:, : self.shape.rows, :, : self.shape.tokens]
        q_RKGD = q_RH1D[:, :, 0].unflatten(1, (keys.shape[1], -1))
        out_RKGD, _ = attend(q_RKGD, keys, values, self.bias, scale)
        return out_RKGD.flatten(1, 2).to(q_RH1D.dtype).unsqueeze(1)


def _zeros(like: Tensor, rows: int) -> Tensor:
    return like.new_zeros(rows, *like.shape[1:])
