"""What a decoder with recurrent layers keeps of the tokens it has read, and how it reads more.

Three layers in four of Qwen3.5 are Gated DeltaNet: instead of keys and values of every token they keep one
state and the last inputs of a short convolution, of the same size after any number of tokens. Such a state
can be copied, and cannot be taken back; sequences of any length stand side by side in a batch.

Shape legend: B sequences, H key-value heads, K tokens of room, T new tokens, D width, C channels of the
convolution, W its kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

if TYPE_CHECKING:
    from pixelreasoner.chat.layout import Layout
    from pixelreasoner.models.vlm import Features, VisionLanguageModel

RECURRENT = "linear_attention"
"""What config.json calls such a layer, in `layer_types`."""


def is_recurrent(config: Any) -> bool:
    """Whether some layers of a decoder of this configuration are."""
    return RECURRENT in (getattr(config, "layer_types", None) or ())


@dataclass(frozen=True, eq=False)
class SequenceState:
    """What the decoder keeps of one sequence."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    """Keys and values [1, H, K, D], or the inputs of the convolution [1, C, W] and the state [1, H, D, D]."""
    n_tokens: int

    @property
    def n_bytes(self) -> int:
        return sum(_n_bytes(pair) for pair in self.layers)

    @property
    def token_bytes(self) -> int:
        """What each token adds: keys and values, which have heads, tokens and a width."""
        return sum(_n_bytes(pair) for pair in self.layers if pair[0].ndim == 4) // self.n_tokens


def _n_bytes(pair: tuple[Tensor, Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in pair)


class StateBatch:
    """Sequences that are read together, one token each at a time.

    Keys and values are padded on the left to the longest sequence. What a sequence gives depends on its
    company by rounding errors only.
    """

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model
        self._kinds: list[str] = list(model.decoder.config.layer_types)
        self._cache: DynamicCache | None = None
        self._n_tokens: list[int] = []

    def __len__(self) -> int:
        return len(self._n_tokens)

    @property
    def n_bytes(self) -> int:
        return sum(_n_bytes(pair) for pair in self._layers)

    @property
    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        return [] if self._cache is None else _layers_of(self._cache, self._kinds)

    @property
    def _room(self) -> int:
        return max(self._n_tokens, default=0)

    def add(self, states: Sequence[SequenceState]) -> None:
        """Put sequences behind those that are there; `states` are not changed."""
        if not states:
            return
        room = max(self._room, *(state.n_tokens for state in states))
        parts = [self._layers] * (len(self) > 0) + [list(state.layers) for state in states]
        layers: list[tuple[Tensor, Tensor]] = []
        for index, kind in enumerate(self._kinds):
            first, second = (
                torch.cat([_padded(part[index][which], kind, room) for part in parts]) for which in (0, 1)
            )
            layers.append((first, second))
        self._cache = _cache_of(self._model, layers)
        self._n_tokens += [state.n_tokens for state in states]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all sequences but those of `rows`, in that order."""
        if list(rows) == list(range(len(self))):
            return
        before, self._n_tokens = self._room, [self._n_tokens[row] for row in rows]
        spare = before - self._room
        index = torch.tensor(rows, dtype=torch.long, device=self._model.device)
        layers = [
            (a[index], b[index]) if kind == RECURRENT else (a[index, :, spare:], b[index, :, spare:])
            for kind, (a, b) in zip(self._kinds, self._layers, strict=True)
        ]
        self._cache = _cache_of(self._model, layers) if rows else None

    def state(self, row: int) -> SequenceState:
        """A copy of what is kept of one sequence."""
        start = self._room - self._n_tokens[row]
        one = slice(row, row + 1)
        return SequenceState(
            tuple(
                (a[one].clone(), b[one].clone())
                if kind == RECURRENT
                else (a[one, :, start:].clone(), b[one, :, start:].clone())
                for kind, (a, b) in zip(self._kinds, self._layers, strict=True)
            ),
            self._n_tokens[row],
        )

    def trim(self) -> bool:
        """Give spare memory back; whether there was some."""
        return False

    def read_next(self, token_B: Sequence[int], position_B: Sequence[int]) -> Tensor:
        """Read one token of each sequence; returns its hidden states [B, D].

        `position_B` are M-RoPE positions; the three coordinates agree on text.
        """
        from pixelreasoner.models.vlm import Batch

        device, room = self._model.device, self._room + 1
        self._n_tokens = [n + 1 for n in self._n_tokens]
        embeds_B1D = self._model.decoder.embed_tokens(torch.tensor(token_B, device=device)[:, None])
        held_B = torch.tensor(self._n_tokens, device=device)
        mask_BK = (torch.arange(room, device=device) >= room - held_B[:, None]).long()
        position_3B1 = torch.tensor(position_B, device=device)[None, :, None].expand(3, -1, 1)
        text = torch.zeros(len(token_B), 1, dtype=torch.bool, device=device)
        batch = Batch(embeds_B1D, mask_BK, position_3B1, text, [])
        return self._model(batch, cache=self._cache)[:, 0]


def _padded(x: Tensor, kind: str, room: int) -> Tensor:
    return x if kind == RECURRENT else F.pad(x, (0, 0, room - x.shape[2], 0))


def read(
    model: VisionLanguageModel, layout: Layout, features: dict[str, Features], after: SequenceState | None
) -> tuple[Tensor, SequenceState]:
    """Read the tokens of `layout`, which follow those of `after`.

    Returns:
        The hidden state [D] of the last one, and what is kept of all; `after` is not changed.
    """
    n_tokens = len(layout) + (0 if after is None else after.n_tokens)
    batch = model.embed([layout], features, left=False)
    cache = _cache_of(model, [] if after is None else after.layers)
    hidden_1TD = model(batch, cache=cache, mask_BK=batch.mask_BT.new_ones(1, n_tokens))
    kinds = list(model.decoder.config.layer_types)
    return hidden_1TD[0, -1], SequenceState(tuple(_layers_of(cache, kinds)), n_tokens)


def _cache_of(model: VisionLanguageModel, layers: Sequence[tuple[Tensor, Tensor]]) -> DynamicCache:
    """transformers' cache, with what is in `layers`; a recurrent layer writes into a copy."""
    config = model.decoder.config
    cache: Any = DynamicCache(config=config)
    for index, ((a, b), kind) in enumerate(zip(layers, config.layer_types, strict=bool(layers))):
        if kind == RECURRENT:
            cache.update_conv_state(a, index, conv_kernel_size=a.shape[-1])
            cache.update_recurrent_state(b, index)
        else:
            cache.update(a, b, index)
    return cache


def _layers_of(cache: Any, kinds: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
    return [
        (layer.conv_states[0], layer.recurrent_states[0]) if kind == RECURRENT else (layer.keys, layer.values)
        for layer, kind in zip(cache.layers, kinds, strict=True)
    ]
