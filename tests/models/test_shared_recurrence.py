"""A recurrent layer over shared prompts, against the layer of transformers, one completion at a time."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5GatedDeltaNet

from pixelreasoner.models.attention.shared_prefix import GroupSpan, PrefixPlan
from pixelreasoner.models.attention.shared_recurrence import SharedPrefixDeltaNet

plans = st.lists(
    st.builds(GroupSpan, st.integers(1, 9), st.lists(st.integers(1, 7), max_size=4).map(tuple)),
    min_size=1,
    max_size=3,
).map(lambda groups: PrefixPlan(tuple(groups)))


def layers(value_heads: int = 4, width: int = 4) -> tuple[Qwen3_5GatedDeltaNet, SharedPrefixDeltaNet]:
    """The layer of transformers and ours, with the same weights."""
    config = Qwen3_5TextConfig(
        hidden_size=12, linear_num_key_heads=2, linear_num_value_heads=value_heads, linear_key_head_dim=6,
        linear_value_head_dim=5, linear_conv_kernel_dim=width, num_hidden_layers=4,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = Qwen3_5GatedDeltaNet(config, 0)
    ours = copy.deepcopy(theirs)
    ours.__class__ = SharedPrefixDeltaNet
    return theirs, ours


def one_by_one(layer: Qwen3_5GatedDeltaNet, hidden_1TD: torch.Tensor, plan: PrefixPlan) -> torch.Tensor:
    """Each completion after its own copy of the prompt."""
    out, start = [], 0
    for group in plan.groups:
        prompt = torch.arange(start, start + group.prompt)
        at = start + group.prompt
        for row, length in enumerate(group.branches or (0,)):
            tokens = torch.cat([prompt, torch.arange(at, at + length)])
            x = layer(hidden_1TD[:, tokens])
            out.append(x if row == 0 else x[:, group.prompt :])
            at += length
        start += group.n_tokens
    return torch.cat(out, 1)


def assert_same(found, expected):
    """Equal beside a tensor's largest number: transformers' rule computes in float32 whatever it is given."""
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3 * float(b.detach().abs().amax()) + 2e-5, rtol=0)


def with_gradients(layer, call, hidden):
    out = call(layer, hidden)
    weight = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
    return out, *torch.autograd.grad((out * weight).sum(), [hidden, *layer.parameters()])


@settings(max_examples=30, deadline=None)
@given(plans, st.sampled_from([2, 4]), st.sampled_from([2, 4]), st.integers(0, 3))
def test_outputs_and_gradients_are_those_of_one_completion_at_a_time(plan, value_heads, width, seed):
    theirs, ours = layers(value_heads, width)
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(1, plan.n_tokens, 12, generator=generator, requires_grad=True)
    expected = with_gradients(theirs, lambda layer, x: one_by_one(layer, x, plan), hidden)
    found = with_gradients(ours, lambda layer, x: layer(x, shared_prefix=plan), hidden)
    assert_same(found, expected)


def test_completions_are_longer_than_a_chunk_of_the_rule():
    """The rule reads 64 tokens at a time; a prompt and completions of several chunks."""
    theirs, ours = layers()
    plan = PrefixPlan((GroupSpan(150, (70, 130)),))
    hidden = torch.randn(1, plan.n_tokens, 12, generator=torch.Generator().manual_seed(1), requires_grad=True)
    expected = with_gradients(theirs, lambda layer, x: one_by_one(layer, x, plan), hidden)
    found = with_gradients(ours, lambda layer, x: layer(x, shared_prefix=plan), hidden)
    assert_same(found, expected)


def test_without_a_plan_it_is_the_layer_of_transformers():
    theirs, ours = layers()
    hidden = torch.randn(2, 7, 12)
    assert torch.equal(ours(hidden), theirs(hidden))


def test_siblings_do_not_read_each_other():
    _, ours = layers()
    plan = PrefixPlan((GroupSpan(3, (4, 4)),))
    hidden = torch.randn(1, plan.n_tokens, 12)
    changed = hidden.clone()
    changed[0, 3:7] = torch.randn(4, 12)
    before, after = (ours(x, shared_prefix=plan) for x in (hidden, changed))
    assert torch.equal(before[:, 7:], after[:, 7:])
    assert not torch.allclose(before[:, 3:7], after[:, 3:7])


def test_a_row_with_a_plan_takes_no_cache():
    _, ours = layers()
    with pytest.raises(AssertionError, match="read whole"):
        ours(torch.randn(1, 3, 12), object(), shared_prefix=PrefixPlan((GroupSpan(3),)))
