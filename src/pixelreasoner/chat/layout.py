"""A conversation laid out for a model: every placeholder expanded, every token with its M-RoPE position.

Shape legend: T expanded tokens; H, W pixels; F frames of one block; N tokens of one block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from pixelreasoner.core.media import Pixels

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class VisualBlock:
    """What one placeholder stands for, at its final size.

    An image, one temporal patch of a video (Qwen3-VL), or a whole video (Qwen2.5-VL).
    """

    key: str
    """Content digest and size: equal keys are equal pixels, so features can be shared."""
    kind: Literal["image", "video"]
    frames: Pixels
    """uint8 [F, H, W, 3]; F is 1 for an image, a multiple of the temporal patch size for a video."""
    grid_thw: tuple[int, int, int]
    """Patches along time, height and width, before merging."""
    n_tokens: int
    """Language-model tokens it takes, after merging."""
    time_step: float = 1.0
    """Positions from one temporal patch to the next."""


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

    def slice(self, start: int, stop: int) -> Layout:
        """Tokens [start, stop), with the blocks that stand among them and the positions they have here.

        Neither end lies within a block.
        """
        ends = np.cumsum([0, *(block.n_tokens for block in self.blocks)])
        n_visual = [int(np.count_nonzero(self.kind_T[:end])) for end in (start, stop)]
        first, last = (int(np.searchsorted(ends, n)) for n in n_visual)
        assert [ends[first], ends[last]] == n_visual, "a cut within a block"
        return Layout(
            ids_T=self.ids_T[start:stop],
            kind_T=self.kind_T[start:stop],
            owner_T=self.owner_T[start:stop],
            position_3T=self.position_3T[:, start:stop],
            blocks=self.blocks[first:last],
        )

    @staticmethod
    def join(layouts: Sequence[Layout]) -> Layout:
        """One row of several, side by side; each keeps its positions. `owner_T` is -1: nobody recorded it."""
        ids_T = np.concatenate([layout.ids_T for layout in layouts])
        return Layout(
            ids_T=ids_T,
            kind_T=np.concatenate([layout.kind_T for layout in layouts]),
            owner_T=np.full(len(ids_T), -1),
            position_3T=np.concatenate([layout.position_3T for layout in layouts], axis=1),
            blocks=tuple(block for layout in layouts for block in layout.blocks),
        )


def expand(
    ids: tuple[int, ...], blocks: tuple[VisualBlock, ...], placeholders: frozenset[int], merge: int
) -> Layout:
    """Replace each placeholder by its block's tokens, and number the positions.

    Text advances all three coordinates together. A block starts at the next free position and spans its
    merged grid; the text after it starts one past the largest position so far (Qwen2-VL, arXiv 2409.12191,
    section 2.1). Without time steps (images, and Qwen3-VL) this is what `get_rope_index` of transformers
    gives. After a Qwen2.5-VL video that lasts longer than it is wide, transformers 5.3 to 5.19 let the text
    start within the video's own time span; this is the rule the models were trained with, and the one that
    sampling goes by.
    """
    ids_a = np.asarray(ids, dtype=np.int64)
    at_block = np.flatnonzero(np.logical_or.reduce([ids_a == placeholder for placeholder in placeholders]))
    assert len(at_block) == len(blocks), f"{len(at_block)} placeholders, {len(blocks)} blocks"
    repeats = np.ones(len(ids_a), dtype=np.int64)
    repeats[at_block] = [b.n_tokens for b in blocks]
    owner = np.repeat(np.arange(len(ids_a)), repeats)
    kind_by_token = np.zeros(len(ids_a), dtype=np.int8)
    kind_by_token[at_block] = [1 if b.kind == "image" else 2 for b in blocks]
    # Text steps by one from token to token; what a block takes more or less than that shifts all after it.
    position = np.empty((3, len(owner)), dtype=np.int64)
    position[:] = np.arange(len(owner))
    at = shift = done = 0
    for index, block in zip(at_block.tolist(), blocks, strict=True):
        start = at + index - done
        position[:, at:start] += shift
        end = start + block.n_tokens
        grid_3N, span = _grid(block.grid_thw, merge, block.time_step)
        position[:, start:end] = grid_3N + (start + shift)
        shift += span - block.n_tokens
        at, done = end, index + 1
    position[:, at:] += shift
    return Layout(ids_a[owner], kind_by_token[owner], owner, position, blocks)


@lru_cache(maxsize=1024)
def _grid(grid_thw: tuple[int, int, int], merge: int, time_step: float) -> tuple[IntArray, int]:
    """Positions [3, N] of a block that starts at 0, and how far the text after it starts."""
    t, h, w = grid_thw[0], grid_thw[1] // merge, grid_thw[2] // merge
    # In float32 and rounded down after the product, as transformers does it.
    time_t = (np.arange(t, dtype=np.float32) * np.float32(time_step)).astype(np.int64)
    grid_3N = np.stack(np.meshgrid(time_t, np.arange(h), np.arange(w), indexing="ij")).reshape(3, -1)
    grid_3N.flags.writeable = False
    return grid_3N, int(grid_3N.max()) + 1
