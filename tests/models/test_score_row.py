"""Packed rows against one padded row per trajectory: the same log-probabilities, the same gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.reference.local_policy import LocalPolicy
from pixelreasoner.models import logprobs
from pixelreasoner.models.attention import dispatch
from pixelreasoner.models.attention.shared_prefix import dense_attention
from pixelreasoner.models.logprobs import score_row
from pixelreasoner.objectives.loss_mask import loss_mask
from pixelreasoner.objectives.packing import PackedRow, pack_rows
from pixelreasoner.objectives.scored_group import imitation
from pixelreasoner.policy.base import CompletionRequest, Sampling, complete
from row_helpers import FORBIDDEN, assert_close, gradients, reference


def packed_row(model, groups) -> PackedRow:
    """All of them: those with the same prompt share it."""
    (row,) = pack_rows(
        [imitation(y) for y in groups(model.renderer)],
        lambda y: model.renderer.layout(y.segments),
        max_tokens=10_000,
        token_weights=lambda counts: [1.0] * len(counts),
        behavior=False,
    )
    assert len(row.plan.groups) == 4
    return row


def packed(model, groups, change=lambda row: None):
    row = packed_row(model, groups)
    change(row)
    features = model.encode(row.layout.blocks)
    return score_row(model, row, features, temperature=0.7, forbidden_ids=FORBIDDEN)


def compare(model, groups, *, checkpointing):
    """Scores and gradients of the reference, and of packed rows."""
    expected = reference(model, groups)
    wanted = gradients(model, expected)
    assert any("visual" in name for name in wanted)
    if checkpointing:
        model.hf.gradient_checkpointing_enable({"use_reentrant": False})
    runs = []
    model.decoder.layers[0].input_layernorm.register_forward_pre_hook(lambda *_: runs.append(1))
    found = packed(model, groups)
    ours = gradients(model, found)
    assert len(runs) == 1 + checkpointing
    return (expected, wanted), (found, ours)


checkpointed = pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])


@checkpointed
def test_float32(trained, groups, checkpointing):
    """Measured: 7e-8 of the log-probabilities (one bit), 1.3e-6 of the gradients; recurrent layers add up the
    states of a prompt in other chunks.
    """
    model = trained(torch.float32)
    scores, slopes = (2e-6, 5e-5) if model.recurrent else (1e-6, 1e-5)
    (expected, wanted), (found, ours) = compare(model, groups, checkpointing=checkpointing)
    torch.testing.assert_close(found.logp_N, expected.logp_N, atol=0, rtol=scores)
    torch.testing.assert_close(found.entropy_N, expected.entropy_N, atol=0, rtol=scores)
    assert not found.entropy_N.requires_grad
    assert_close(ours, wanted, rtol=slopes)


def _exact_norm(self, x):
    return self.weight * x * (x.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()


def _shift(row) -> None:
    """Move every completion but the first by seven positions."""
    group = row.plan.groups[0]
    row.layout.position_3T[:, group.prompt + group.branches[0] : group.n_tokens] += 7


def _look(row) -> None:
    """Let the completions of the first group attend to one another."""
    group, *rest = row.plan.groups
    joined = type(group)(group.prompt, (sum(group.branches),))
    object.__setattr__(row, "plan", type(row.plan)((joined, *rest)))


def _roll(row) -> None:
    """Predict the first token of the second completion from the last one of the first."""
    group = row.plan.groups[0]
    at = np.flatnonzero(row.at_N == group.prompt - 1)[1]
    row.at_N[at] = group.prompt + group.branches[0] - 1


@pytest.mark.parametrize("mistake", [_shift, _look, _roll])
def test_the_comparison_notices_a_mistake(trained, groups, mistake):
    model = trained(torch.float32)
    with torch.no_grad():
        expected, found = reference(model, groups), packed(model, groups, mistake)
    assert (found.logp_N - expected.logp_N).abs().max() > 1e-4


def test_the_dense_form_agrees(trained, groups, monkeypatch):
    model = trained(torch.float64)
    with torch.no_grad():
        found = packed(model, groups)
        monkeypatch.setattr(dispatch, "shared_prefix_attention", dense_attention)
        dense = packed(model, groups)
    torch.testing.assert_close(found.logp_N, dense.logp_N, atol=1e-12, rtol=1e-12)


def test_padded_batches_are_scored_as_before(trained, groups):
    """Between and after packed rows: sampling and evaluation go on with the same model."""
    model = trained(torch.float64)
    with torch.no_grad():
        before = reference(model, groups)
        packed(model, groups)
        after = reference(model, groups)
    assert torch.equal(before.logp_N, after.logp_N)


def test_work_is_done_once(trained, groups):
    """The tower sees each distinct picture, the decoder each prompt, the head the loss tokens: once."""
    model = trained(torch.float32)
    trajectories, row = groups(model.renderer), packed_row(model, groups)
    layouts = [model.renderer.layout(y.segments) for y in trajectories]
    seen: dict[str, list[int]] = {"tower": [], "decoder": [], "head": []}
    watched = {"tower": model.vision.blocks[0], "decoder": model.decoder.layers[0], "head": model.hf.lm_head}
    for name, module in watched.items():
        module.register_forward_pre_hook(lambda _, args, name=name: seen[name].append(args[0].shape[-2]))
    with torch.no_grad():
        packed(model, groups)
    distinct = {block.key: block for layout in layouts for block in layout.blocks}
    assert seen["tower"] == [sum(np.prod(block.grid_thw) for block in distinct.values())]
    # The small crop was asked for twice, and is the image of a prompt too.
    assert len(row.layout.blocks) > len(distinct)
    assert seen["decoder"] == [len(row)]
    assert len(row) < sum(map(len, layouts))
    assert seen["head"] == [sum(int(loss_mask(y).sum()) for y in trajectories)]


def test_scores_are_chunked(trained, groups, monkeypatch):
    model = trained(torch.float32)
    expected = packed(model, groups)
    wanted = gradients(model, expected)
    sizes = []
    model.hf.lm_head.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    monkeypatch.setattr(logprobs, "CHUNK", 5)
    found = packed(model, groups)
    assert max(sizes) == 5
    torch.testing.assert_close(found.logp_N, expected.logp_N, atol=1e-6, rtol=0)
    assert_close(gradients(model, found), wanted, rtol=1e-5)


def test_autocast(trained, groups):
    """In bfloat16 packed and padded rows differ by rounding only."""
    model = trained(torch.float32)

    def outcome(score) -> list[torch.Tensor]:
        scores = score(model, groups)
        return [scores.logp_N.detach(), torch.cat([g.flatten() for g in gradients(model, scores).values()])]

    exact = outcome(reference)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, found = outcome(reference), outcome(packed)
    for e, r, f in zip(exact, rounded, found, strict=True):
        assert 0 < (f - e).norm() < 1.5 * (r - e).norm()


def test_an_attention_that_knows_no_plans_is_noticed(trained, groups):
    """It would let every trajectory of a row attend to those before it."""
    model = trained(torch.float32)
    model.decoder.config._attn_implementation = "sdpa"
    with pytest.raises(AssertionError, match="plan"):
        packed(model, groups)


class TestWhereAllLayersAttend:
    """The delta rule of recurrent layers computes in float32 whatever the weights are in, and the reference
    policy has no cache for its states.
    """

    @pytest.fixture
    def folder(self, attending_folder):
        return attending_folder

    @checkpointed
    def test_float64(self, trained, groups, checkpointing, monkeypatch):
        """To the last digits, where transformers is kept from computing norms in float32. Measured: 3e-15."""
        model = trained(torch.float64)
        for module in model.modules():
            if type(module).__name__.endswith("RMSNorm"):
                monkeypatch.setattr(type(module), "forward", _exact_norm)
        (expected, wanted), (found, ours) = compare(model, groups, checkpointing=checkpointing)
        torch.testing.assert_close(found.logp_N, expected.logp_N, atol=0, rtol=1e-12)
        assert_close(ours, wanted, rtol=1e-12)

    def test_float64_as_transformers_computes_it(self, trained, groups):
        """Its norms round to float32 on their way, and gradients are summed in another order around them.

        Measured: equal log-probabilities, 9e-8 of the gradients. A state on the edge between two float32
        numbers may be rounded the other way on another machine, hence the room for log-probabilities.
        """
        (expected, wanted), (found, ours) = compare(trained(torch.float64), groups, checkpointing=False)
        torch.testing.assert_close(found.logp_N, expected.logp_N, atol=0, rtol=1e-7)
        assert_close(ours, wanted, rtol=1e-6)

    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    def test_sampling_goes_on_as_before(self, trained, groups, temperature):
        """With padding, prompts in common and a growing cache: the same tokens, the same odds to the bit."""
        model = trained(torch.float32)
        sampling = Sampling(temperature=temperature, max_tokens=12)
        requests = [
            CompletionRequest((y.segments[0],), i, sampling) for i, y in enumerate(groups(model.renderer))
        ]
        policy = LocalPolicy(model)
        before = complete(policy, requests)
        with torch.no_grad():
            packed(model, groups)
        assert complete(policy, requests) == before
