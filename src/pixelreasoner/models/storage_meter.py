"""Counts the bytes that a pass holds, storage by storage; on the device "meta" no memory is taken for it.

Tensors there have sizes and formats, and no numbers. Index data (grids, windows, places of pictures) stay
real, on the CPU, and become sizes where they meet a tensor without memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

META = torch.device("meta")
_ATEN = torch.ops.aten
_INDEXING = (
    _ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default, _ATEN._index_put_impl_.default,
)  # fmt: skip


def tensors_of(model: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers, and the gradients that are there."""
    yield from model.parameters()
    yield from model.buffers()
    yield from (p.grad for p in model.parameters() if p.grad is not None)


class StorageMeter(TorchDispatchMode):
    """Counts the bytes of storages that are allocated under it, on any device, from allocation to release.

    With tensors of the device "meta" it also brings index data to them (see the top of this file).
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        """Nothing of `known` counts."""
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, object] = {x.untyped_storage()._cdata: None for x in known}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if _mask_to_meta(func, args, kwargs):
            return args[0].clone()
        leaves = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if any(x.is_meta for x in leaves) and any(not x.is_meta and x.ndim for x in leaves):
            if func in _INDEXING:
                args = (args[0], _without_masks(args[1]), *args[2:])
            args, kwargs = cast(tuple[Any, dict[str, Any]], tree_map_only(Tensor, _sized, (args, kwargs)))
        out = func(*args, **kwargs)
        for x in tree_leaves(out):
            if isinstance(x, Tensor):
                self._count(x)
        return out

    def _count(self, x: Tensor) -> None:
        storage = x.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def died(_: object) -> None:
            self.now -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, died)
        self.now += size
        self.peak = max(self.peak, self.now)


def _mask_to_meta(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a mask is moved to where its values, which decide over sizes, would be lost."""
    if func is not _ATEN._to_copy.default or kwargs.get("device") != META:
        return False
    return args[0].dtype == torch.bool and not args[0].is_meta


def _without_masks(indices: Any) -> list[Tensor | None]:
    """The indices of a tensor with the places that a mask names in its place."""
    found: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype == torch.bool and not index.is_meta:
            found += index.nonzero(as_tuple=True)
        else:
            found.append(index)
    return found


def _sized(x: Tensor) -> Tensor:
    """The same without its values; a single number has no memory worth the name."""
    return x if x.is_meta or not x.ndim else x.to(META)
