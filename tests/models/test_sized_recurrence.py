"""The sizes of the delta rule against the rule itself, on tensors with memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixelreasoner.models.sized_recurrence import CHUNK, RULE, SOME, sized_delta_rule
from pixelreasoner.models.storage_meter import StorageMeter

HEADS, KEY, VALUE = 3, 16, 8


def inputs(device: str, length: int, *, batch: int, dtype: torch.dtype, state: bool, grad: bool = True):
    def made(*shape: int, of: torch.dtype = dtype) -> Tensor:
        numbers = -torch.rand(shape, dtype=of).to(device)
        return numbers.requires_grad_(grad)

    return {
        "query": made(batch, length, HEADS, KEY),
        "key": made(batch, length, HEADS, KEY),
        "value": made(batch, length, HEADS, VALUE),
        "g": made(batch, length, HEADS, of=torch.float32),
        "beta": made(batch, length, HEADS),
        "initial_state": made(batch, HEADS, KEY, VALUE, of=torch.float32) if state else None,
    }


def measured(rule, given: dict[str, Tensor | None], *, backward: bool = True) -> tuple[list[int], list]:
    """Bytes after the forward pass, at its highest, and at the highest of the backward pass; forms of what
    comes out."""
    there = [x for x in given.values() if x is not None]
    meter = StorageMeter(there)
    with meter:
        found = rule(**given, output_final_state=True, use_qk_l2norm_in_kernel=True)
        numbers = [meter.now, meter.peak]
        forms = [(x.shape, x.dtype) for x in found]
        if backward:
            grads = torch.autograd.grad(found, there, [torch.zeros_like(x) for x in found])
            numbers.append(meter.peak)
            forms += [(x.shape, x.dtype) for x in grads]
    return numbers, forms


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize(("batch", "state", "rest"), [(1, False, 0), (3, True, 1), (2, True, CHUNK - 1)])
def test_it_holds_what_the_rule_holds(dtype, batch, state, rest):
    length = CHUNK * (2 * SOME + 9) + rest
    options = {"batch": batch, "dtype": dtype, "state": state}
    wanted, forms = measured(RULE, inputs("cpu", length, **options))
    found, sized = measured(sized_delta_rule, inputs("meta", length, **options))
    assert sized == forms
    assert found[:2] == wanted[:2], "what is kept, and the forward pass: to the byte"
    assert found[2] == pytest.approx(wanted[2], rel=0.01)


def test_without_gradients_nothing_is_kept():
    length = CHUNK * (SOME + 3) + 7
    options = {"batch": 2, "dtype": torch.bfloat16, "state": True, "grad": False}
    wanted, forms = measured(RULE, inputs("cpu", length, **options), backward=False)
    found, sized = measured(sized_delta_rule, inputs("meta", length, **options), backward=False)
    assert (found, sized) == (wanted, forms)
    assert found[0] == sum(shape.numel() * dtype.itemsize for shape, dtype in forms)


@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK * SOME])
def test_short_sequences_are_run_at_their_own_length(length):
    options = {"batch": 2, "dtype": torch.bfloat16, "state": True}
    wanted, forms = measured(RULE, inputs("meta", length, **options))
    found, sized = measured(sized_delta_rule, inputs("meta", length, **options))
    assert (found, sized) == (wanted, forms)
    # An operation may take room on "meta" that it does not take on the CPU, which tells in one chunk.
    assert found[0] == measured(RULE, inputs("cpu", length, **options))[0][0]
