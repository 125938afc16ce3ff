"""A conversation laid out for a model: every placeholder expanded, every token with its M-RoPE position.

Shape legend: T expanded tokens; H, W pixels; F frames of one block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.media import Pixels

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class VisualBlock:
    """What one placeholder stands for: an image, or one temporal patch of a video, at its final size."""

    key: str
    """Content digest and size: equal keys are equal pixels, so features can be shared."""
    kind: Literal["image", "video"]
    frames: Pixels
    """uint8 [F, H, W, 3]; F is 1 for an image, the temporal patch size for a video."""
    grid_thw: tuple[int, int, int]
    """Patches along time, height and width, before merging."""
    n_tokens: int
    """Language-model tokens it takes, after merging."""


@dataclass(frozen=True, eq=False)
class Layout:
    """One row of model input."""

    ids_T: IntArray
    """Token ids; a block's placeholder is repeated n_tokens times."""
    kind_T: npt.NDArray[np.int8]
    """0 text, 1 image, 2 video."""
    owner_T: IntArray
    """For each expanded token, the index of the recorded token it came from."""
    position_3T: IntArray
    """M-RoPE positions: temporal, height, width."""
    blocks: tuple[VisualBlock, ...]
    """In order of appearance."""

    def __len__(self) -> int:
        return len(self.ids_T)

    @property
    def next_position(self) -> int:
        """The position of the first token after this row."""
        return int(self.position_3T.max()) + 1 if len(self) else 0


def expand(
    ids: tuple[int, ...], blocks: tuple[VisualBlock, ...], placeholders: frozenset[int], merge: int
) -> Layout:
    """Replace each placeholder by its block's tokens, and number the positions.

    Text advances all three coordinates together; a block starts at the next free position, spans its
    merged grid in height and width, and the text after it starts past its longer side (Qwen2-VL,
    arXiv 2409.12191, section 2.1, as revised by Qwen3-VL, where each temporal patch is a block).
    """
    ids_a = np.asarray(ids, dtype=np.int64)
    is_block = np.isin(ids_a, list(placeholders))
    assert int(is_block.sum()) == len(blocks), f"{int(is_block.sum())} placeholders, {len(blocks)} blocks"
    repeats = np.ones(len(ids_a), dtype=np.int64)
    repeats[is_block] = [b.n_tokens for b in blocks]
    owner = np.repeat(np.arange(len(ids_a)), repeats)
    kind_by_token = np.zeros(len(ids_a), dtype=np.int8)
    kind_by_token[is_block] = [1 if b.kind == "image" else 2 for b in blocks]
    position = np.empty((3, len(owner)), dtype=np.int64)
    at, nxt, start = 0, 0, 0
    for index, block in zip(np.flatnonzero(is_block).tolist(), blocks, strict=True):
        n_text = index - start
        position[:, at : at + n_text] = nxt + np.arange(n_text)
        at, nxt = at + n_text, nxt + n_text
        t, h, w = block.grid_thw[0], block.grid_thw[1] // merge, block.grid_thw[2] // merge
        grid = np.stack(np.meshgrid(np.arange(t), np.arange(h), np.arange(w), indexing="ij")).reshape(3, -1)
        position[:, at : at + block.n_tokens] = grid + nxt
        at, nxt, start = at + block.n_tokens, nxt + max(h, w, t if t > 1 else 0), index + 1
    position[:, at:] = nxt + np.arange(len(owner) - at)
    return Layout(ids_a[owner], kind_by_token[owner], owner, position, blocks)
