"""Optimiser and learning-rate schedule: AdamW, linear warm-up, cosine to a floor."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from pixelreasoner.core.config import Config, Share
from pixelreasoner.core.errors import NonFiniteError

Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimConfig(Config):
    lr: float = Field(default=1e-6, gt=0, le=1)
    """Peak learning rate."""
    warmup: Share = 0.03
    """Share of the steps over which the rate rises from zero."""
    final: Share = 0.1
    """The rate at the last step, as a share of the peak."""
    weight_decay: Share = 0.0
    """Of AdamW; on matrices only."""
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    """Of AdamW: decay of the mean of the gradients, and of their squares."""
    max_grad_norm: float = Field(default=1.0, gt=0, le=1e9)
    """A gradient with a larger norm is scaled down to it."""


def adamw(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that take gradients; decay only on matrices."""
    trained = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)


def state_bytes(parameter: torch.Tensor, config: OptimConfig) -> int:
    """What the optimiser keeps of one trained parameter: for AdamW two tensors like it and a number."""
    del config  # one optimiser only
    return 2 * parameter.numel() * parameter.element_size() + torch.float32.itemsize


def rate(step: int, total: int, config: OptimConfig) -> float:
    """Learning rate of 0-based `step` out of `total`."""
    warm = max(1, round(total * config.warmup))
    if step < warm:
        return config.lr * (step + 1) / warm
    progress = (step - warm) / max(1, total - warm)
    return config.lr * (config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * progress)))


def optimizer_step(optimizer: torch.optim.Optimizer, *, step: int, total: int, config: OptimConfig) -> float:
    """Clip, step and clear; returns the gradient norm before clipping.

    Raises:
        NonFiniteError: the norm is not finite; no step is taken.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate(step, total, config)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = float(nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
    if not math.isfinite(norm):
        raise NonFiniteError(f"the gradient norm is {norm}")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


def check_weights(parameters: Iterable[nn.Parameter]) -> None:
    """Check all weights at once, by their norm: one pass over the memory they take.

    Raises:
        NonFiniteError: one of them is not finite.
    """
    norm = float(nn.utils.get_total_norm([p.detach() for p in parameters]))
    if not math.isfinite(norm):
        raise NonFiniteError(f"the norm of the weights is {norm}")
