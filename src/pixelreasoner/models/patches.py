"""From uint8 pictures to the rows a vision tower reads, and the tower's first layer made fast.

Shape legend: N blocks of one size; F frames of a block, f of one temporal patch; t, h, w patches along time,
height and width; m patches along a merge window; p pixels along a patch; S patches of all blocks together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelreasoner.chat.layout import VisualBlock
from pixelreasoner.chat.vision_spec import VisionSpec


def by_size(blocks: Iterable[VisualBlock]) -> list[VisualBlock]:
    """The distinct blocks, those of one size together, and sizes with equally many patches too."""
    distinct = {block.key: block for block in blocks}
    return sorted(distinct.values(), key=_size)


def _size(block: VisualBlock) -> tuple[int, ...]:
    _, h, w = block.grid_thw
    return h * w, h, w, len(block.frames)


def patch_rows(blocks: Sequence[VisualBlock], vision: VisionSpec, device: torch.device) -> Tensor:
    """The blocks' patches, float32 [S, C*f*p*p], block after block, the patches of a merge window together.

    Neighbours of one size are cut up in one go. The pixels travel to the device as uint8.
    """
    mean, std = (torch.tensor(values, device=device)[:, None] for values in vision.normalization)
    rows = [_cut([b.frames for b in run], vision, device) for _, run in groupby(blocks, key=_size)]
    # Channels lie next to each other in a row, each with the f*p*p values of its patch.
    values_SCX = torch.cat(rows).unflatten(1, (3, -1)).float()
    return values_SCX.div_(255).sub_(mean).div_(std).flatten(1)


def _cut(frames: Sequence[np.ndarray], vision: VisionSpec, device: torch.device) -> Tensor:
    """uint8 [N*t*h*w, C*f*p*p] of N blocks of one size."""
    m, p, f = vision.merge, vision.patch, vision.temporal_patch
    x = torch.from_numpy(np.stack(frames)).to(device)
    n, n_frames, height, width, c = x.shape
    if n_frames < f:  # an image fills the temporal patch with copies of itself
        x = x.expand(-1, f, -1, -1, -1)
    h, w = height // (m * p), width // (m * p)
    x = x.reshape(n, -1, f, h, m, p, w, m, p, c)
    # n t f h m p w m p c -> n t h w m m c f p p
    return x.permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8).reshape(-1, c * f * p * p)


class LinearPatches(nn.Conv3d):
    """A convolution over patches that do not overlap, computed as the matrix product it is.

    The numbers and the weights' names are those of the convolution, whose kernels are slow here.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[S, C, f, p, p], one patch each, to [S, D, 1, 1, 1]."""
        out_SD = F.linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return out_SD[:, :, None, None, None]


def use_linear_patches(tower: Any) -> None:
    """Switch a transformers vision tower to `LinearPatches`, in place."""
    conv: nn.Conv3d = tower.patch_embed.proj
    assert conv.kernel_size == conv.stride, "the patches of the tower overlap"
    f, height, width = conv.kernel_size
    sizes = (conv.in_channels, conv.out_channels, (f, height, width), (f, height, width))
    linear = LinearPatches(*sizes, bias=conv.bias is not None, device="meta")
    linear.weight, linear.bias = conv.weight, conv.bias
    tower.patch_embed.proj = linear
