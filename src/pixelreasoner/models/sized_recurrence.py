"""The delta rule of recurrent layers as sizes alone: what it holds for any length, found from two short ones.

The rule goes through a sequence in chunks, one after the other, in Python: thousands of operations for each
layer of a long row, and on the device "meta" each takes as long as one that computes. But each chunk adds the
same tensors as the one before. So the rule is run on `FEW` and on `SOME` chunks, and all that it allocates is
counted:

* what it keeps for its backward pass, and which of its inputs;
* the most that it holds at one time in the forward and in the backward pass.

Each number grows by the same bytes from chunk to chunk, and follows for any number of them. An operation in
its place allocates so much, and gives outputs and gradients of the right shapes. A sequence of at most `SOME`
chunks is run at its own length, once for all layers.

What is counted is the rule that comes with transformers, in PyTorch. The kernels of flash-linear-attention,
where they are installed, hold less.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen3_5

from pixelreasoner.models.attention.shared_recurrence import SharedPrefixDeltaNet
from pixelreasoner.models.storage_meter import META, StorageMeter

RULE: Any = inspect.unwrap(qwen3_5.torch_chunk_gated_delta_rule)
"""Without transformers' choice of a kernel, which would be run on tensors that have no numbers."""
CHUNK: int = inspect.signature(RULE).parameters["chunk_size"].default
FEW, SOME = 4, 8
"""Chunks of the two sequences that are gone through."""


def use_sized_recurrence(decoder: Any) -> None:
    """Give the recurrent layers of a decoder without memory the rule of this module, in place."""
    for module in decoder.modules():
        if isinstance(module, SharedPrefixDeltaNet):
            module.delta_rule = sized_delta_rule


def sized_delta_rule(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    g: Tensor,
    beta: Tensor,
    initial_state: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """As transformers' rule, on tensors without numbers: outputs [B, N, H, V], last state [B, H, K, V]."""
    inputs = (query, key, value, g, beta, initial_state)
    length, grad = query.shape[1], torch.is_grad_enabled()
    call = tuple(None if x is None else _Form(tuple(x.shape), x.dtype, x.requires_grad) for x in inputs)
    chunks = -(-length // CHUNK)
    if chunks <= SOME:
        held = _held(call, length, grad)
    else:
        rest = length - CHUNK * chunks  # both of the short ones fill their last chunk as far
        few, some = (_held(call, CHUNK * n + rest, grad) for n in (FEW, SOME))
        held = few.extended(some, chunks)
    return _Sized.apply(held, *inputs)  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class _Form:
    """Of an input of the rule."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    requires_grad: bool

    def made(self, length: int | None = None) -> Tensor:
        """A tensor of this form; `length` takes the place of the tokens of a sequence."""
        shape = self.shape if length is None else (self.shape[0], length, *self.shape[2:])
        return torch.empty(shape, dtype=self.dtype, device=META, requires_grad=self.requires_grad)


@dataclass(frozen=True)
class _Held:
    """Bytes of the rule beside its inputs."""

    kept: int
    """For the backward pass."""
    outputs: int
    """Whose memory may be that of whole chunks."""
    forward: int
    """At the highest in the forward pass."""
    backward: int
    """At the highest in the backward pass, beside what there is when it begins."""
    inputs: tuple[int, ...]
    """The numbers of the inputs that are kept, too."""

    def extended(self, some: _Held, chunks: int) -> _Held:
        """That of so many chunks, from those of `FEW` (self) and of `SOME`."""

        def at(a: int, b: int) -> int:
            return b + (b - a) * (chunks - SOME) // (SOME - FEW)

        return _Held(
            at(self.kept, some.kept),
            at(self.outputs, some.outputs),
            at(self.forward, some.forward),
            at(self.backward, some.backward),
            some.inputs,
        )


@lru_cache(maxsize=64)
def _held(call: tuple[_Form | None, ...], length: int, grad: bool) -> _Held:
    """What the rule holds for inputs of that form and so many tokens.

    It is run in a thread of its own: the pass that goes on meanwhile neither counts it nor has hooks on it.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_measured, call, length, grad).result()


def _measured(call: tuple[_Form | None, ...], length: int, grad: bool) -> _Held:
    *sequences, state = call
    inputs = [form.made(length) for form in sequences if form is not None]
    inputs.append(None if state is None else state.made())  # pyright: ignore[reportArgumentType]
    there = [x for x in inputs if x is not None]
    saved: set[int] = set()

    def pack(x: Tensor) -> Tensor:
        saved.add(x.untyped_storage()._cdata)
        return x

    meter = StorageMeter(there)
    with torch.set_grad_enabled(grad), saved_tensors_hooks(pack, lambda x: x), meter:
        out, last = _rule(inputs)
        forward = meter.peak
        outputs = out.untyped_storage().nbytes()
        kept = meter.now - outputs - last.untyped_storage().nbytes()
        backward = _backward(meter, (out, last), there) if out.requires_grad else 0
    own = {i: x.untyped_storage()._cdata for i, x in enumerate(inputs) if x is not None}
    return _Held(kept, outputs, forward, backward, tuple(i for i, key in own.items() if key in saved))


def _backward(meter: StorageMeter, outputs: tuple[Tensor, Tensor], inputs: Sequence[Tensor]) -> int:
    given = tuple(torch.empty_like(x) for x in outputs)
    start = meter.peak = meter.now
    _ = torch.autograd.grad(outputs, [x for x in inputs if x.requires_grad], given)
    return meter.peak - start


def _rule(inputs: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
    query, key, value, g, beta, state = inputs
    return RULE(
        query,
        key,
        value,
        g=g,
        beta=beta,
        initial_state=state,
        output_final_state=True,
        use_qk_l2norm_in_kernel=True,
    )


class _Sized(torch.autograd.Function):
    """Outputs, gradients and memory of the rule."""

    @staticmethod
    def forward(ctx: Any, held: _Held, *inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        query, key, value = inputs[:3]
        assert query is not None
        assert key is not None
        assert value is not None
        kept = _bytes(held.kept)
        out = _bytes(held.outputs).view(query.dtype)[: value.numel()].view(value.shape)
        batch, _, heads, width = value.shape
        last = torch.empty((batch, heads, key.shape[-1], width), dtype=torch.float32, device=META)
        _bytes(held.forward - held.kept - held.outputs - last.nbytes)
        ctx.held = held
        ctx.forms = [None if x is None else _Form(tuple(x.shape), x.dtype, False) for x in inputs]
        ctx.save_for_backward(kept, *(inputs[i] for i in held.inputs))
        return out, last

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        ctx.saved_tensors  # noqa: B018 (where activations are computed again, this does it)
        _bytes(ctx.held.backward)
        wanted = zip(ctx.forms, ctx.needs_input_grad[1:], strict=True)
        return (None, *(form.made() if needed and form is not None else None for form, needed in wanted))


def _bytes(n: int) -> Tensor:
    return torch.empty(max(0, n), dtype=torch.uint8, device=META)
