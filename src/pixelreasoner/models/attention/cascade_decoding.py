"""The decoding part of cascade attention: one new token for each of many rows that share prompts.

Who attends to what is a handful of integers per row. They are packed into one tensor, so that a step is a
function of that tensor and of the pools alone: its shape may be that of the step, or a larger one in which
rows, prompts and tokens are padded. A padded row is inert: it writes back what it finds, and nobody reads
what it gives.

Shape legend: B decoding rows, P prompts, M the most rows of one prompt, C = P * M cells, H query heads, K
key-value heads, G = H / K, D head width, S tokens that are attended to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelreasoner.models.kv_pool import KeyValuePool, in_blocks


@dataclass(frozen=True)
class Decoding:
    """One new token for each of the rows [0, B) of the pool of sequences, which has room for it."""

    held_B: Sequence[int]
    """Tokens each row held before."""
    prompt_B: Sequence[int]
    """Row of its prompt in the pool of prompts."""
    prompt_tokens_P: Sequence[int]
    """Tokens of the prompts in rows [0, P), at least one each; those of `prompt_B` are among them."""


@dataclass(frozen=True)
class DecodingShape:
    """The sizes of a step; a step fits every shape that is at least as large in each."""

    rows: int
    prompts: int
    most: int
    """Rows of one prompt."""
    sequence_tokens: int
    """Of a row, the new one included."""
    prompt_tokens: int

    @classmethod
    def of(cls, decoding: Decoding) -> DecodingShape:
        """The smallest that the step fits."""
        return cls(
            rows=len(decoding.held_B),
            prompts=len(decoding.prompt_tokens_P),
            most=int(np.bincount(decoding.prompt_B).max()),
            sequence_tokens=max(decoding.held_B) + 1,
            prompt_tokens=max(decoding.prompt_tokens_P),
        )

    def padded(self, prompts: KeyValuePool, sequences: KeyValuePool) -> DecodingShape:
        """One of few shapes that these pools give to all steps, the next larger."""
        return DecodingShape(
            rows=min(on_ladder(self.rows), sequences.rows),
            prompts=min(_power_of_two(self.prompts), prompts.rows),
            most=_power_of_two(self.most),
            sequence_tokens=part_of(sequences.tokens, self.sequence_tokens),
            prompt_tokens=part_of(prompts.tokens, self.prompt_tokens),
        )

    @property
    def size(self) -> int:
        """Tokens that are read, for all rows together."""
        return self.rows * self.sequence_tokens + self.prompts * self.prompt_tokens

    def holds(self, other: DecodingShape) -> bool:
        """Whether a step of the other shape fits this one."""
        return all(mine >= theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True))

    @property
    def cells(self) -> int:
        return self.prompts * self.most

    @property
    def sizes(self) -> list[int]:
        """Of the parts of what `packed` returns."""
        return [self.rows, self.rows, self.rows, self.cells, self.prompts]

    def packed(self, decoding: Decoding) -> np.ndarray:
        """All that a step of this shape has to know, int64 of `sizes` side by side.

        Per row its tokens, whether it is one of the step's, and its cell, which is its place among the rows
        of its prompt; the row in each cell; the tokens of each prompt.
        """
        n = len(decoding.held_B)
        packed = np.zeros(sum(self.sizes), np.int64)
        held_B, live_B, cell_B, row_C, tokens_P = np.split(packed, np.cumsum(self.sizes)[:-1])
        held_B[:n], live_B[:n], tokens_P[:] = decoding.held_B, 1, 1
        tokens_P[: len(decoding.prompt_tokens_P)] = decoding.prompt_tokens_P
        cell_B[:n] = _cells(decoding.prompt_B, self.most)
        row_C[cell_B[:n]] = np.arange(n)
        return packed


@dataclass(frozen=True, eq=False)
class DecodingRows:
    """A step of decoding: masks and cache positions, on the device."""

    prompts: KeyValuePool
    sequences: KeyValuePool
    shape: DecodingShape
    row_B: Tensor
    held_B: Tensor
    live_B111: Tensor | None
    """Which rows are those of the step; None: all are."""
    cell_B: Tensor
    row_C: Tensor
    sequence_bias: Tensor
    prompt_bias: Tensor

    @classmethod
    def of(
        cls,
        prompts: KeyValuePool,
        sequences: KeyValuePool,
        shape: DecodingShape,
        packed: Tensor,
        *,
        padded: bool,
    ) -> DecodingRows:
        """From what `shape.packed` returned, on the device; nothing of it is looked at by the host.

        Without `padded` all rows of the shape are rows of the step.
        """
        held_B, live_B, cell_B, row_C, tokens_P = packed.split(shape.sizes)
        return cls(
            prompts,
            sequences,
            shape,
            row_B=torch.arange(shape.rows, device=packed.device),
            held_B=held_B,
            live_B111=live_B.bool()[:, None, None, None] if padded else None,
            cell_B=cell_B,
            row_C=row_C,
            sequence_bias=bias(held_B + 1, shape.sequence_tokens),
            prompt_bias=bias(tokens_P, shape.prompt_tokens),
        )

    def attend(self, module: Any, q_1HBD: Tensor, k_1KBD: Tensor, v_1KBD: Tensor, scale: float) -> Tensor:
        """Store the rows' keys and values in one layer; returns the attention output [1, B, H, D]."""
        held = self.sequences.layer(module.layer_idx, k_1KBD[0])
        self._store(held, k_1KBD[0], v_1KBD[0])
        keys, values = held[:, : self.shape.rows, :, : self.shape.sequence_tokens]
        q_BKGD = q_1HBD[0].transpose(0, 1).unflatten(1, (keys.shape[1], -1))
        out_sequence, lse_sequence = attend(q_BKGD, keys, values, self.sequence_bias, scale)

        held = self.prompts.layer(module.layer_idx)
        keys, values = held[:, : self.shape.prompts, :, : self.shape.prompt_tokens]
        out, lse = attend(self._by_prompt(q_BKGD), keys, values, self.prompt_bias, scale)
        out, lse = self._by_row(out), self._by_row(lse)
        merged_BKGD = torch.lerp(out, out_sequence, torch.sigmoid(lse_sequence - lse))
        return merged_BKGD.flatten(1, 2).to(q_1HBD.dtype).unsqueeze(0)

    def _store(self, held: Tensor, k_KBD: Tensor, v_KBD: Tensor) -> None:
        if self.live_B111 is None:
            held[0][self.row_B, :, self.held_B] = k_KBD.transpose(0, 1)
            held[1][self.row_B, :, self.held_B] = v_KBD.transpose(0, 1)
            return
        # The row of an inert one may be that of a sequence that waits: what is there is written back.
        new_B2KD = torch.stack([k_KBD, v_KBD]).permute(2, 0, 1, 3)
        kept_B2KD = held[:, self.row_B, :, self.held_B]
        held[:, self.row_B, :, self.held_B] = torch.where(self.live_B111, new_B2KD, kept_B2KD)

    def _by_prompt(self, q_BKGD: Tensor) -> Tensor:
        """Return [P, K, M * G, D]: each prompt's queries side by side; in empty cells, those of any row."""
        cells = q_BKGD[self.row_C].unflatten(0, (self.shape.prompts, -1))
        return cells.transpose(1, 2).flatten(2, 3)

    def _by_row(self, x: Tensor) -> Tensor:
        """Reorder [P, K, M * G, ...] to [B, K, G, ...]."""
        return x.unflatten(2, (self.shape.most, -1)).transpose(1, 2).flatten(0, 1)[self.cell_B]


def attend(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return the output of queries [..., Q, D] over [..., S, D], and their log-sum-exp [..., Q, 1].

    Scores and sums are at least float32, as in the stock kernels, whatever keys and values are stored in.
    """
    scores = _products(q, keys).mul_(scale).add_(bias)
    peak = scores.amax(-1, keepdim=True)
    weights = scores.sub_(peak).exp_()
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


def bias(tokens: Tensor, longest: int) -> Tensor:
    """Return [rows, 1, 1, S]: 0 on the first `tokens` of each row, -inf after them."""
    outside = torch.arange(longest, device=tokens.device) >= tokens[:, None]
    return torch.zeros(outside.shape, device=tokens.device).masked_fill(outside, -torch.inf)[:, None, None]


def _cells(prompt_B: Sequence[int], most: int) -> list[int]:
    """Return each row's cell: its rank among the rows of its prompt, behind the cells of earlier prompts."""
    seen: dict[int, int] = {}
    cells: list[int] = []
    for prompt in prompt_B:
        rank = seen.get(prompt, 0)
        seen[prompt] = rank + 1
        cells.append(prompt * most + rank)
    return cells


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def on_ladder(n: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24, ...: a third at most is padding."""
    power = _power_of_two(n)
    return between if n <= (between := power * 3 // 4) else power


def part_of(room: int, tokens: int) -> int:
    """The smallest of `room`, its half, its quarter, ... in whole blocks, that holds so many tokens."""
    while (half := in_blocks(-(-room // 2))) >= tokens and half < room:
        room = half
    return room
