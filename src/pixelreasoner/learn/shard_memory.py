"""What each of many processes holds: the arithmetic of docs/many-gpus.md, tensor by tensor.

FSDP2 cuts each tensor along its first dimension into as many parts as there are processes. The parts are as
large as the first one, which is rounded up. A layer is put together when it is its turn, and the next one is
fetched meanwhile; what stands outside of the layers is put together for the whole of a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from pixelreasoner.learn.optim import OptimConfig
from pixelreasoner.learn.optimizers import state_bytes
from pixelreasoner.models.vlm import VisionLanguageModel


@dataclass(frozen=True)
class ShardMemory:
    """Bytes of the first process, which has the largest part of each tensor."""

    weights: int
    gradients: int
    states: int
    """Of the optimiser."""
    layers: int
    """Two layers put together, and the gradients of one."""
    rest: int
    """What stands outside of the layers put together, and its gradients."""

    @classmethod
    def of(
        cls,
        model: VisionLanguageModel,
        optim: OptimConfig,
        n: int,
        *,
        whole_tower: bool,
        collected: torch.dtype | None = None,
    ) -> ShardMemory:
        """For a model on `n` processes.

        Args:
            model: whole; what takes gradients is trained.
            optim: its optimiser.
            n: processes.
            whole_tower: as for `sharded.shard`.
            collected: the format in which layers are put together; None for that of their weights.

        Raises:
            ConfigError: there is no such optimiser, or it does not train these weights.
        """
        tower = set(model.vision.parameters()) if whole_tower else set[nn.Parameter]()
        parts = [p if p in tower else _part(p, n) for p in model.parameters()]
        trained = [p for p in parts if p.requires_grad]
        own = split_modules(model, whole_tower=whole_tower)
        inside = {p for module in own for p in module.parameters()}
        rest = [p for p in model.parameters() if p not in inside and p not in tower]
        return cls(
            weights=_bytes(parts),
            gradients=_bytes(trained),
            states=sum(state_bytes(p, optim) for p in trained),
            layers=max(_put_together(list(m.parameters()), collected, copies=2) for m in own),
            rest=_put_together(rest, None, copies=1),
        )


def split_modules(model: VisionLanguageModel, *, whole_tower: bool) -> list[nn.Module]:
    """The modules that are split for themselves: layers of the decoder, blocks of a tower that is split."""
    return [*model.decoder.layers, *([] if whole_tower else model.vision.blocks)]


def _part(p: nn.Parameter, n: int) -> torch.Tensor:
    """The first process's part of a parameter, without memory."""
    shape = (math.ceil(p.shape[0] / n), *p.shape[1:])
    return torch.empty(shape, dtype=p.dtype, device="meta", requires_grad=p.requires_grad)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


def _put_together(parameters: list[nn.Parameter], dtype: torch.dtype | None, *, copies: int) -> int:
    """Bytes of so many copies of the weights, and of the gradients of one."""
    total = 0
    for p in parameters:
        each = p.numel() * (p.dtype if dtype is None else dtype).itemsize
        total += (copies + p.requires_grad) * each
    return total
