"""Patch rows of mixed blocks, and the linear form of the patch convolution.

Equality with transformers' image processors is in tests/chat/test_qwen3_vl.py.
"""

import numpy as np
import torch
from torch import nn

from pixelreasoner.models.patches import LinearPatches, by_size, patch_rows

CPU = torch.device("cpu")


def test_a_row_by_hand(renderer, picture):
    """Merge windows first: the 2nd patch is right of the 1st, the 3rd below it; then colour, time, y, x."""
    image = picture(16, 16)
    rows = patch_rows(renderer.blocks(image, crop=False), renderer.vision, CPU)
    mean, std = (np.array(v) for v in renderer.vision.normalization)
    values = (image.pixels / 255 - mean) / std
    expected = []
    for window_y, window_x in ((0, 0), (0, 8), (8, 0), (8, 8)):
        for y, x in ((0, 0), (0, 4), (4, 0), (4, 4)):
            patch = values[window_y + y : window_y + y + 4, window_x + x : window_x + x + 4]
            expected.append(np.stack([patch, patch]).transpose(3, 0, 1, 2).ravel())
    np.testing.assert_allclose(rows.numpy(), expected, atol=1e-6)


def test_blocks_together_are_blocks_alone(renderer, picture, video):
    media = [
        picture(40, 24),
        video(3),
        picture(16, 16),
        picture(40, 24, 1),
        video(2, 16, 16),
        picture(24, 40),
    ]
    blocks = by_size(block for item in media for block in renderer.blocks(item, crop=False))
    together = patch_rows(blocks, renderer.vision, CPU)
    alone = torch.cat([patch_rows([block], renderer.vision, CPU) for block in blocks])
    assert torch.equal(together, alone)


def test_by_size_keeps_each_picture_once_and_neighbours_alike(renderer, picture):
    media = [picture(40, 24), picture(16, 16), picture(40, 24, 1), picture(24, 40), picture(16, 16)]
    blocks = by_size(renderer.blocks(item, crop=False)[0] for item in media)
    assert [b.frames.shape[1:3] for b in blocks] == [(16, 16), (24, 40), (24, 40), (40, 24)]


def test_linear_patches_are_the_convolution():
    torch.manual_seed(0)
    conv = nn.Conv3d(3, 5, (2, 4, 4), (2, 4, 4)).double()
    linear = LinearPatches(3, 5, (2, 4, 4), (2, 4, 4)).double()
    linear.load_state_dict(conv.state_dict())
    x = torch.randn(7, 3, 2, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(linear(x), conv(x), atol=1e-12, rtol=0)


def test_the_tower_keeps_the_names_of_its_weights(folder, model):
    from transformers import AutoModelForImageTextToText

    stock = AutoModelForImageTextToText.from_pretrained(folder)
    assert list(model.hf.state_dict()) == list(stock.state_dict())
    assert isinstance(model.vision.patch_embed.proj, LinearPatches)
