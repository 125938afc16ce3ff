"""Tensors of which each process holds a part: whole again, and cut like one that is there.

The parts are `DTensor`s of torch, split along the first dimension as FSDP2 splits parameters.
"""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: Tensor) -> Tensor:
    """The tensor in full on every process, which all call together; one that is not split, itself."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def cut_like(tensor: Tensor, target: Tensor) -> Tensor:
    """The tensor split as `target` is, on its device; nothing is sent.

    Args:
        tensor: split so already, or whole and the same on every process.
        target: of the same shape.
    """
    if not isinstance(target, DTensor):
        return tensor
    mesh, placements = target.device_mesh, target.placements
    if isinstance(tensor, DTensor):
        part = tensor.to_local().to(target.device)
        return DTensor.from_local(
            part, mesh, placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
        )
    return distribute_tensor(tensor.to(target.device), mesh, placements, src_data_rank=None)
