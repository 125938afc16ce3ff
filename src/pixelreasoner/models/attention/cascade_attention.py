"""Cascade attention, for sampling many sequences at once when the rollouts of a group share their prompt.

One pass of the decoder gets one row of tokens, without padding::

    [ one token for each of the B generating sequences | new tokens of a | new tokens of b | ... ]

The first part is decoding. Its tokens attend to two regions, as in `models.attention.shared_prefix`: the
prompt, whose keys and values are stored once for the whole group, and their own sequence after the prompt.
All tokens that share a prompt attend to it in one product, folded into the query dimension. The two results
are merged by the log-sum-exp of their scores::

    out = out_prompt + (out_sequence - out_prompt) * sigmoid(lse_sequence - lse_prompt)

(`models.attention.cascade_decoding`). The other part is prefill: whole prompts, or tool results appended to a
sequence, each in one stock call.

Shape legend: N tokens of the row, T tokens of a piece, B decoding rows, H query heads, K key-value heads, D
head width, S tokens that are attended to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pixelreasoner.models.attention.cascade_decoding import Decoding, DecodingRows, DecodingShape
from pixelreasoner.models.attention.plain_attention import plain_attention
from pixelreasoner.models.kv_pool import KeyValuePool


@dataclass(frozen=True)
class Piece:
    """New tokens of a row; they attend to a prompt, the row's older tokens and, causally, to themselves."""

    pool: KeyValuePool
    slot: int
    start: int
    """Number of tokens the row held before."""
    n_tokens: int
    """Number of new tokens, at least one; the pool has room for them."""
    prompt: tuple[int, int] | None = None
    """Row and length of a prompt in the pool of prompts, stored before or by an earlier piece of the pass."""


class AttentionPlan(Protocol):
    """Says who attends to whom in a pass of a sampler, and stores keys and values."""

    def attend(self, module: Any, q: Tensor, k: Tensor, v: Tensor, scale: float, /) -> Tensor:
        """Output [B, T, H, D] of a layer: queries [B, H, T, D], keys and values [B, K, T, D]."""
        ...


class CascadePlan:
    """Masks and cache positions of one pass."""

    def __init__(
        self,
        prompts: KeyValuePool,
        sequences: KeyValuePool,
        decoding: Decoding,
        pieces: Sequence[Piece],
        device: torch.device,
    ) -> None:
        """The row holds `decoding`'s tokens, then those of `pieces`, in this order."""
        self.prompts, self.sequences, self.pieces = prompts, sequences, list(pieces)
        self.n_decoding = len(decoding.held_B)
        self._masks = [_causal(piece, device) for piece in pieces]
        self._rows: DecodingRows | None = None
        if not self.n_decoding:
            return
        shape = DecodingShape.of(decoding)
        packed = torch.from_numpy(shape.packed(decoding)).to(device)
        self._rows = DecodingRows.of(prompts, sequences, shape, packed, padded=False)

    def attend(self, module: Any, q_1HND: Tensor, k_1KND: Tensor, v_1KND: Tensor, scale: float) -> Tensor:
        """Store the row's keys and values in one layer; returns the attention output [1, N, H, D]."""
        sizes = [self.n_decoding, *(piece.n_tokens for piece in self.pieces)]
        parts = zip(*(x.split(sizes, dim=2) for x in (q_1HND, k_1KND, v_1KND)), strict=True)
        q, k, v = next(parts)
        out = []
        if self._rows is not None:
            out.append(self._rows.attend(module, q, k, v, scale))
        for piece, mask, (q, k, v) in zip(self.pieces, self._masks, parts, strict=True):
            out.append(self._extend(module, piece, mask, q, k, v, scale))
        return torch.cat(out, 1)

    def _extend(
        self, module: Any, piece: Piece, mask: Tensor | None, q: Tensor, k: Tensor, v: Tensor, scale: float
    ) -> Tensor:
        """Return the output of a piece, [1, T, H, D]."""
        held = piece.pool.layer(module.layer_idx, k)
        row = held[:, piece.slot, :, : piece.start + piece.n_tokens]
        row[0, :, piece.start :], row[1, :, piece.start :] = k[0], v[0]
        if piece.prompt is not None:
            slot, tokens = piece.prompt
            row = torch.cat([self.prompts.layer(module.layer_idx)[:, slot, :, :tokens], row], 2)
        out, _ = plain_attention(module, q, row[0, None], row[1, None], mask, scaling=scale)
        return out


def _causal(piece: Piece, device: torch.device) -> Tensor | None:
    """Return the mask [1, 1, T, S] of tokens that follow others; None where the stock kernel needs none."""
    past = piece.start + (0 if piece.prompt is None else piece.prompt[1])
    if past == 0 or piece.n_tokens == 1:
        return None
    ones = torch.ones(piece.n_tokens, past + piece.n_tokens, dtype=torch.bool, device=device)
    return ones.tril(past)[None, None]


def cascade_attention(
    module: nn.Module,
    query_1HND: Tensor,
    key_1KND: Tensor,
    value_1KND: Tensor,
    *,
    plan: AttentionPlan,
    scaling: float,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Return the attention of a row by its plan, [1, N, H, D], with the interface of transformers."""
    assert dropout == 0.0, "sampling is done by a model in evaluation mode"
    assert options.get("sliding_window") is None, "a window is not part of the two-region form"
    device = query_1HND.device.type
    q, k, v = query_1HND, key_1KND, value_1KND
    if torch.is_autocast_enabled(device):
        # As a stock attention call does; left on, it would also round the scores.
        dtype = torch.get_autocast_dtype(device)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    with torch.autocast(device, enabled=False):
        return plan.attend(module, q, k, v, scaling), None
