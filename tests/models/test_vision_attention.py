"""Packed attention gives the numbers of the loop it replaces, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parameters_to_vector

from pixelreasoner.models.attention import vision_attention
from pixelreasoner.models.attention.vision_attention import PACKED_FLASH, packed_attention
from pixelreasoner.models.patches import patch_rows

H, D = 3, 8


def states(total: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, H, total, D, dtype=torch.float64, generator=generator) for _ in range(3)]


def looped(query, key, value, lengths):
    parts = [x.split(lengths, dim=2) for x in (query, key, value)]
    out = [F.scaled_dot_product_attention(q, k, v, scale=0.3) for q, k, v in zip(*parts, strict=True)]
    return torch.cat(out, dim=2).transpose(1, 2)


def cumulative(lengths) -> torch.Tensor:
    return F.pad(torch.tensor(lengths).cumsum(0), (1, 0)).to(torch.int32)


MIXED = [4, 9, 4, 4, 1, 9, 2, 4, 9]


@pytest.mark.parametrize("lengths", [[7], [5, 5, 5], [2, 2, 6, 6, 6, 1], MIXED, MIXED * 4])
@pytest.mark.parametrize("max_runs", [0, 16])
def test_equals_the_loop(lengths, max_runs, monkeypatch):
    monkeypatch.setattr(vision_attention, "MAX_RUNS", max_runs)
    inputs = states(sum(lengths))
    ours, theirs = ([x.clone().requires_grad_() for x in inputs] for _ in range(2))
    out, weights = packed_attention(nn.Identity(), *ours, scaling=0.3, cu_seq_lens_q=cumulative(lengths))
    expected = looped(*theirs, lengths)
    assert weights is None
    assert out.shape == (1, sum(lengths), H, D)
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)

    direction = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    out.backward(direction)
    expected.backward(direction)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-12, rtol=0)


def test_lengths_are_looked_at_once_per_pass(monkeypatch):
    seen = []
    plan = vision_attention._plan
    monkeypatch.setattr(vision_attention, "_plan", lambda cu: seen.append(cu) or plan(cu))
    layers = cumulative([4, 4])
    for _ in range(3):
        packed_attention(nn.Identity(), *states(8), cu_seq_lens_q=layers)
    packed_attention(nn.Identity(), *states(8), cu_seq_lens_q=cumulative([4, 4]))
    assert len(seen) == 2


def test_the_whole_tower_gives_the_stock_numbers(folder, load_model, picture):
    """Windows and full layers, mixed sizes; gradients of every weight."""
    from transformers import AutoModelForImageTextToText

    model = load_model(folder)
    stock = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="sdpa"
    ).model.visual
    stock.load_state_dict(model.vision.state_dict())
    sizes = [(40, 32), (24, 24), (48, 24), (24, 24), (40, 40)]
    blocks = [block for size in sizes for block in model.renderer.blocks(picture(*size), crop=False)]
    rows = patch_rows(blocks, model.renderer.vision, model.device).double()
    grid = torch.tensor([b.grid_thw for b in blocks])
    assert model.vision.config._attn_implementation == PACKED_FLASH
    assert stock.config._attn_implementation == "sdpa"
    gradients, outs = [], []
    for tower in (model.vision, stock):
        tower.zero_grad()
        out = tower(rows, grid_thw=grid).pooler_output
        out.square().sum().backward()
        outs.append(out.detach())
        gradients.append(parameters_to_vector([p.grad for p in tower.parameters() if p.grad is not None]))
        tower.zero_grad()
    torch.testing.assert_close(outs[0], outs[1], atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-8, rtol=1e-8)
