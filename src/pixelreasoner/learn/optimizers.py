"""The optimisers that a recipe can name (`optim.kind`), and the memory that each takes.

One of your own is an `OptimizerKind`, named as package.module:object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.registry import Registry
from pixelreasoner.learn.rounded_adamw import BLOCK, EightBitMoment, Float32Moment, RoundedAdamW

if TYPE_CHECKING:
    from pixelreasoner.learn.optim import OptimConfig

ParameterGroups = list[dict[str, Any]]
_HERE = "pixelreasoner.learn.optimizers"
OPTIMIZERS = Registry(
    "optimizer",
    {
        "adamw": f"{_HERE}:ADAMW",
        "adamw_bf16": f"{_HERE}:ADAMW_BF16",
        "adamw_8bit": f"{_HERE}:ADAMW_8BIT",
    },
)


@dataclass(frozen=True)
class OptimizerKind:
    """How an optimiser is made, and what it can work with."""

    build: Callable[[ParameterGroups, OptimConfig], torch.optim.Optimizer]
    """From groups of trained parameters, each with its `weight_decay`."""
    state_bytes: float
    """Of its states, per trained parameter."""
    dtypes: tuple[torch.dtype, ...]
    """Of weights that it can train."""
    remedy: str
    """What to change where the weights have another one."""
    many_processes: bool = True
    """Whether its states can be split over processes."""


def _adamw(groups: ParameterGroups, config: OptimConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)


def _adamw_bf16(groups: ParameterGroups, config: OptimConfig) -> torch.optim.Optimizer:
    return RoundedAdamW(groups, lr=config.lr, betas=config.betas, moment=Float32Moment())


def _adamw_8bit(groups: ParameterGroups, config: OptimConfig) -> torch.optim.Optimizer:
    return RoundedAdamW(groups, lr=config.lr, betas=config.betas, moment=EightBitMoment())


ADAMW = OptimizerKind(
    build=_adamw,
    state_bytes=8.0,
    dtypes=(torch.float32, torch.float64),
    remedy='set model.dtype = "fp32" (with model.precision = "bf16" the matrix products stay fast), or '
    'optim.kind = "adamw_bf16" or "adamw_8bit", which round stochastically',
)
"""torch's, over float32 weights."""
ADAMW_BF16 = OptimizerKind(
    build=_adamw_bf16,
    state_bytes=8.0,
    dtypes=(torch.bfloat16, torch.float32),
    remedy='set model.dtype = "bf16"',
)
"""Weights in bf16, rounded stochastically; moments in float32."""
ADAMW_8BIT = OptimizerKind(
    build=_adamw_8bit,
    state_bytes=2.0 + 2 * 4 / BLOCK,
    dtypes=(torch.bfloat16, torch.float32),
    remedy='set model.dtype = "bf16" or "fp32"',
    many_processes=False,
)
"""Moments in 8 bits (torchao); weights in bf16 are rounded stochastically, those in float32 are not."""


def bytes_per_parameter(kind: str, weights: torch.dtype) -> float:
    """Memory of a trained parameter: its weight, its gradient, and the optimiser's states.

    The states of tensors too small for blocks of 8 bits stay in float32; they are few.

    Raises:
        ConfigError: there is no such optimiser, or it cannot train weights of that dtype.
    """
    found = _find(kind)
    _check(kind, found, [weights])
    return 2 * weights.itemsize + found.state_bytes


def state_bytes(parameter: torch.Tensor, config: OptimConfig) -> int:
    """What the optimiser of a recipe keeps of one trained tensor, the count of its steps included.

    Raises:
        ConfigError: as `bytes_per_parameter`.
    """
    found = _find(config.kind)
    _check(config.kind, found, [parameter.dtype])
    return round(parameter.numel() * found.state_bytes) + torch.float32.itemsize


def new_optimizer(
    parameters: Iterable[nn.Parameter], config: OptimConfig, *, n_processes: int = 1
) -> torch.optim.Optimizer:
    """The optimiser of a recipe over the parameters that take gradients; decay only on matrices.

    Raises:
        ConfigError: there is none of that name, or it cannot train these weights on so many processes.
        MissingExtraError: its package is not installed.
    """
    kind = _find(config.kind)
    trained = [p for p in parameters if p.requires_grad]
    _check(config.kind, kind, [p.dtype for p in trained])
    check_processes(config, n_processes)
    groups: ParameterGroups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return kind.build(groups, config)


def check_processes(config: OptimConfig, n: int) -> None:
    """Check that the states of a recipe's optimiser can be split over so many processes.

    Raises:
        ConfigError: they cannot, or there is no such optimiser.
    """
    if n > 1 and not _find(config.kind).many_processes:
        raise ConfigError(
            f'optim.kind = "{config.kind}" works in one process; with {n}, which share the states, '
            f'set optim.kind = "adamw" or "adamw_bf16"'
        )


def _find(name: str) -> OptimizerKind:
    found = OPTIMIZERS.find(name)
    if not isinstance(found, OptimizerKind):
        raise ConfigError(f"optimizer '{name}' is no OptimizerKind; see pixelreasoner.learn.optimizers")
    return found


def _check(name: str, kind: OptimizerKind, dtypes: Iterable[torch.dtype]) -> None:
    for dtype in dtypes:
        if dtype not in kind.dtypes:
            short = str(dtype).removeprefix("torch.")
            raise ConfigError(f'optim.kind = "{name}" does not train weights in {short}; {kind.remedy}')
