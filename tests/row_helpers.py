"""Scores and gradients of trajectories: of one padded row each, and how close another way comes to them."""

from __future__ import annotations

import torch

from pixelreasoner.nano.padded import score_padded
from pixelreasoner.objectives.loss_mask import loss_mask

FORBIDDEN = (5, 6, 7)


def reference(model, groups):
    rows = [(model.renderer.layout(y.segments), loss_mask(y)) for y in groups(model.renderer)]
    features = model.encode([block for layout, _ in rows for block in layout.blocks])
    return score_padded(model, rows, features, temperature=0.7, forbidden_ids=FORBIDDEN)


def gradients(model, scores) -> dict[str, torch.Tensor]:
    """Of a sum in which every token has a weight of its own, as its advantage would give it."""
    model.zero_grad()
    weight_N = torch.sin(torch.arange(len(scores.logp_N), dtype=scores.logp_N.dtype))
    (scores.logp_N * weight_N).sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_close(ours: dict, theirs: dict, *, rtol: float) -> None:
    """Each parameter's gradient, relative to its size; to that of the whole where theory says it is zero."""
    assert ours.keys() == theirs.keys()
    whole = max(g.abs().max().item() for g in theirs.values())
    for name, gradient in ours.items():
        scale = max(theirs[name].abs().max().item(), 1e-3 * whole)
        error = (gradient - theirs[name]).abs().max().item() / scale
        assert error <= rtol, f"{name}: {error:.1e}"
