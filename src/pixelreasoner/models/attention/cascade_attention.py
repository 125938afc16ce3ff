"""Cascade attention, for sampling many sequences at once when the rollouts of a group share their prompt.

One pass of the decoder gets one row of tokens, without padding::

    [ one token for each of the B generating sequences | new tokens of a | new tokens of b | ... ]

The first part is decoding. Its tokens attend to two regions, as in `models.attention.shared_prefix`: the
prompt, whose keys and values are stored once for the whole group, and their own sequence after the prompt.
All tokens that share a prompt attend to it in one product, folded into the query dimension. The two results
are merged by the log-sum-exp of their scores::

    out = out_prompt + (out_sequence - out_prompt) * sigmoid(lse_sequence - lse_prompt)

The other part is prefill: whole prompts, or tool results appended to a sequence, each in one stock call.

Shape legend: N tokens of the row, T tokens of a piece, B decoding rows, P prompts, M the most rows of one
prompt, H query heads, K key-value heads, G = H / K, D head width, S tokens that are attended to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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


@dataclass(frozen=True)
class Decoding:
    """One new token for each of the rows [0, B) of the pool of sequences, which has room for it."""

    held_B: Sequence[int]
    """Tokens each row held before."""
    prompt_B: Sequence[int]
    """Row of its prompt in the pool of prompts."""
    prompt_tokens_P: Sequence[int]
    """Tokens of the prompts in rows [0, P), at least one each; those of `prompt_B` are among them."""


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
        if not self.n_decoding:
            return
        held_B, prompt_B = np.asarray(decoding.held_B), np.asarray(decoding.prompt_B)
        self._longest_sequence = int(held_B.max()) + 1
        self._longest_prompt = max(decoding.prompt_tokens_P)
        self._n_prompts = len(decoding.prompt_tokens_P)
        rank_B, self._most = _ranks(prompt_B)
        held = torch.from_numpy(held_B).to(device)
        self._row_B, self._held_B = torch.arange(self.n_decoding, device=device), held
        self._cell_B = torch.from_numpy(prompt_B * self._most + rank_B).to(device)
        self._sequence_bias = _bias(held + 1, self._longest_sequence)
        prompt_tokens_P = torch.tensor(decoding.prompt_tokens_P, device=device)
        self._prompt_bias = _bias(prompt_tokens_P, self._longest_prompt)

    def attend(self, module: Any, q_1HND: Tensor, k_1KND: Tensor, v_1KND: Tensor, scale: float) -> Tensor:
        """Store the row's keys and values in one layer; returns the attention output [1, N, H, D]."""
        sizes = [self.n_decoding, *(piece.n_tokens for piece in self.pieces)]
        parts = zip(*(x.split(sizes, dim=2) for x in (q_1HND, k_1KND, v_1KND)), strict=True)
        q, k, v = next(parts)
        out = []
        if self.n_decoding:
            out.append(self._decode(module.layer_idx, q[0], k[0], v[0], scale).unsqueeze(0))
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

    def _decode(self, layer: int, q_HBD: Tensor, k_KBD: Tensor, v_KBD: Tensor, scale: float) -> Tensor:
        """Return the output of the decoding tokens, [B, H, D]."""
        held = self.sequences.layer(layer, k_KBD)
        held[0][self._row_B, :, self._held_B] = k_KBD.transpose(0, 1)
        held[1][self._row_B, :, self._held_B] = v_KBD.transpose(0, 1)
        keys, values = held[:, : self.n_decoding, :, : self._longest_sequence]
        q_BKGD = q_HBD.transpose(0, 1).unflatten(1, (keys.shape[1], -1))
        out_sequence, lse_sequence = _attend(q_BKGD, keys, values, self._sequence_bias, scale)

        keys, values = self.prompts.layer(layer)[:, : self._n_prompts, :, : self._longest_prompt]
        out, lse = _attend(self._by_prompt(q_BKGD), keys, values, self._prompt_bias, scale)
        out, lse = self._by_row(out), self._by_row(lse)
        merged_BKGD = torch.lerp(out, out_sequence, torch.sigmoid(lse_sequence - lse))
        return merged_BKGD.flatten(1, 2).to(q_HBD.dtype)

    def _by_prompt(self, q_BKGD: Tensor) -> Tensor:
        """Return [P, K, M * G, D]: the queries of each prompt side by side, padded with zeros."""
        k, g, d = q_BKGD.shape[1:]
        cells = q_BKGD.new_zeros(self._n_prompts * self._most, k, g, d)
        cells[self._cell_B] = q_BKGD
        return cells.unflatten(0, (self._n_prompts, -1)).transpose(1, 2).flatten(2, 3)

    def _by_row(self, x: Tensor) -> Tensor:
        """Reorder [P, K, M * G, ...] to [B, K, G, ...]."""
        return x.unflatten(2, (self._most, -1)).transpose(1, 2).flatten(0, 1)[self._cell_B]


def _attend(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return the output of queries [..., Q, D] over [..., S, D], and their log-sum-exp [..., Q, 1].

    Scores and sums are at least float32, as in the stock kernels, whatever keys and values are stored in.
    """
    scores = _products(q, keys) * scale + bias
    peak = scores.amax(-1, keepdim=True)
    weights = (scores - peak).exp()
    total = weights.sum(-1, keepdim=True)
    return (weights.to(values.dtype) @ values).to(total.dtype) / total, peak + total.log()


def _products(q: Tensor, keys: Tensor) -> Tensor:
    """Return inner products [..., Q, S] in at least float32."""
    if q.dtype in (torch.float32, torch.float64):
        return q @ keys.mT
    if q.is_cuda:
        batch = q.shape[:2]
        out = torch.bmm(q.flatten(0, 1), keys.flatten(0, 1).mT, out_dtype=torch.float32)
        return out.unflatten(0, batch)
    return q.float() @ keys.float().mT


def _causal(piece: Piece, device: torch.device) -> Tensor | None:
    """Return the mask [1, 1, T, S] of tokens that follow others; None where the stock kernel needs none."""
    past = piece.start + (0 if piece.prompt is None else piece.prompt[1])
    if past == 0 or piece.n_tokens == 1:
        return None
    ones = torch.ones(piece.n_tokens, past + piece.n_tokens, dtype=torch.bool, device=device)
    return ones.tril(past)[None, None]


def _bias(tokens: Tensor, longest: int) -> Tensor:
    """Return [rows, 1, 1, S]: 0 on the first `tokens` of each row, -inf after them."""
    outside = torch.arange(longest, device=tokens.device) >= tokens[:, None]
    return torch.zeros(outside.shape, device=tokens.device).masked_fill(outside, -torch.inf)[:, None, None]


def _ranks(prompt_B: np.ndarray) -> tuple[np.ndarray, int]:
    """Return each row's rank among the rows of its prompt, and the most rows of one prompt."""
    seen: dict[int, int] = {}
    rank_B = np.empty(len(prompt_B), np.int64)
    for b, prompt in enumerate(prompt_B.tolist()):
        rank_B[b] = seen.get(prompt, 0)
        seen[prompt] = int(rank_B[b]) + 1
    return rank_B, max(seen.values())


def cascade_attention(
    module: nn.Module,
    query_1HND: Tensor,
    key_1KND: Tensor,
    value_1KND: Tensor,
    *,
    plan: CascadePlan,
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
