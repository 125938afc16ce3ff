"""Packed rows against one padded row per attempt: the same log-probabilities, the same gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmarks.reference.local_policy import LocalPolicy
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment
from pixelreasoner.models import logprobs
from pixelreasoner.models.attention import dispatch
from pixelreasoner.models.attention.shared_prefix import dense_attention
from pixelreasoner.models.logprobs import score_tokens
from pixelreasoner.models.packing import CompletionSegment, pack
from pixelreasoner.models.shared_scores import score_packed
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.policy.base import CompletionRequest, Sampling, complete
from prompting import prompt_of

FORBIDDEN = (5, 6, 7)


@pytest.fixture
def trained(load_model, folder) -> Callable[[torch.dtype], VisionLanguageModel]:
    """A copy in training mode that a test may change."""

    def make(dtype: torch.dtype) -> VisionLanguageModel:
        model = load_model(folder)
        return VisionLanguageModel(copy.deepcopy(model.hf), model.renderer).to(dtype).train()

    return make


@pytest.fixture
def attempts(picture, video):
    """Four groups: two images in the prompt, with crops of different sizes, of a crop, and none; a video and
    frames of it; words alone; and a single attempt."""

    def make(renderer) -> list[tuple[list[Segment], np.ndarray]]:
        def attempt(prompt: Segment, *turns) -> tuple[list[Segment], np.ndarray]:
            segments, marks = [prompt], [np.zeros(len(prompt.ids), bool)]
            for said, seen in turns:
                segments.append(Segment(renderer.encode(said)))
                marks.append(np.ones(len(segments[-1].ids), bool))
                if seen:
                    segments.append(renderer.observation(Observation("Image 2:", seen)))
                    marks.append(np.zeros(len(segments[-1].ids), bool))
            return segments, np.concatenate(marks)

        two = prompt_of(renderer, Task("a", "Which number?", (picture(40, 24), picture(24, 24, 1)), ()), ())
        clip = prompt_of(renderer, Task("b", "Which frame shows it?", (video(5, fps=4.0),), ()), ())
        plain = prompt_of(renderer, Task("c", "What is 7?", (), ()), ())
        small, wide = picture(16, 16, 2), picture(32, 16, 3)
        return [
            attempt(two, ("Closer.", (small,)), ("It is the K.", ())),
            attempt(clip, ("Frames.", (picture(24, 16, 1), picture(24, 16, 3))), ("Red.", ())),
            attempt(two, ("The sign is tiny.", (wide,)), ("Closer.", (small,)), ("It reads 7.", ())),
            attempt(plain, ("7.", ())),
            attempt(two, ("It is the red card.", ())),
            attempt(clip, ("Nothing is here.", ())),
            attempt(two, ("Which", (picture(16, 24, 4),)), ("It reads K.", ())),
            attempt(plain, ("Seven, which is a number.", ())),
            attempt(prompt_of(renderer, Task("d", "q", (small,), ()), ()), ("On its own.", ())),
        ]

    return make


def rows_of(renderer, attempts):
    return [(renderer.layout(segments), mask) for segments, mask in attempts(renderer)]


def branches_of(renderer, attempts):
    return [
        CompletionSegment.of(renderer.layout(segments), mask, len(segments[0].ids))
        for segments, mask in attempts(renderer)
    ]


def reference(model, attempts):
    rows = rows_of(model.renderer, attempts)
    features = model.encode([block for layout, _ in rows for block in layout.blocks])
    return score_tokens(model, rows, features, temperature=0.7, forbidden_ids=FORBIDDEN)


def packed(model, attempts, change=lambda row: None):
    row = pack(branches_of(model.renderer, attempts))
    change(row)
    features = model.encode(row.layout.blocks)
    return score_packed(model, row, features, temperature=0.7, forbidden_ids=FORBIDDEN)


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


def compare(model, attempts, *, checkpointing):
    """Scores and gradients of the reference, and of packed rows."""
    expected = reference(model, attempts)
    wanted = gradients(model, expected)
    assert any("visual" in name for name in wanted)
    if checkpointing:
        model.hf.gradient_checkpointing_enable({"use_reentrant": False})
    runs = []
    model.decoder.layers[0].self_attn.register_forward_pre_hook(lambda *_: runs.append(1))
    found = packed(model, attempts)
    ours = gradients(model, found)
    assert len(runs) == 1 + checkpointing
    return (expected, wanted), (found, ours)


checkpointed = pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])


@checkpointed
def test_float32(trained, attempts, checkpointing):
    """Measured: 7e-8 of the log-probabilities (one bit), 1.3e-6 of the gradients."""
    (expected, wanted), (found, ours) = compare(trained(torch.float32), attempts, checkpointing=checkpointing)
    torch.testing.assert_close(found.logp_N, expected.logp_N, atol=0, rtol=1e-6)
    torch.testing.assert_close(found.entropy_N, expected.entropy_N, atol=0, rtol=1e-6)
    assert not found.entropy_N.requires_grad
    assert_close(ours, wanted, rtol=1e-5)


@checkpointed
def test_float64(trained, attempts, checkpointing, monkeypatch):
    """To the last digits, where transformers is kept from computing norms in float32. Measured: 3e-15."""
    model = trained(torch.float64)
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            monkeypatch.setattr(type(module), "forward", _exact_norm)
    (expected, wanted), (found, ours) = compare(model, attempts, checkpointing=checkpointing)
    torch.testing.assert_close(found.logp_N, expected.logp_N, atol=0, rtol=1e-12)
    assert_close(ours, wanted, rtol=1e-12)


def test_float64_as_transformers_computes_it(trained, attempts):
    """Its norms round to float32 on their way, and gradients are summed in another order around them.

    Measured: equal log-probabilities, 9e-8 of the gradients. A state on the edge between two float32 numbers
    may be rounded the other way on another machine, hence the room for log-probabilities.
    """
    (expected, wanted), (found, ours) = compare(trained(torch.float64), attempts, checkpointing=False)
    torch.testing.assert_close(found.logp_N, expected.logp_N, atol=0, rtol=1e-7)
    assert_close(ours, wanted, rtol=1e-6)


def _exact_norm(self, x):
    return self.weight * x * (x.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()


def _shift(row) -> None:
    """Move every attempt but the first by seven positions."""
    group = row.plan.groups[0]
    row.layout.position_3T[:, group.prompt + group.branches[0] : group.n_tokens] += 7


def _look(row) -> None:
    """Let the attempts of the first group see one another."""
    group, *rest = row.plan.groups
    joined = type(group)(group.prompt, (sum(group.branches),))
    object.__setattr__(row, "plan", type(row.plan)((joined, *rest)))


def _roll(row) -> None:
    """Predict the first token of the second attempt from the last one of the first."""
    group = row.plan.groups[0]
    at = np.flatnonzero(row.at_N == group.prompt - 1)[1]
    row.at_N[at] = group.prompt + group.branches[0] - 1


@pytest.mark.parametrize("mistake", [_shift, _look, _roll])
def test_the_comparison_notices_a_mistake(trained, attempts, mistake):
    model = trained(torch.float32)
    with torch.no_grad():
        expected, found = reference(model, attempts), packed(model, attempts, mistake)
    assert (found.logp_N - expected.logp_N).abs().max() > 1e-4


def test_the_dense_form_agrees(trained, attempts, monkeypatch):
    model = trained(torch.float64)
    with torch.no_grad():
        found = packed(model, attempts)
        monkeypatch.setattr(dispatch, "shared_prefix_attention", dense_attention)
        dense = packed(model, attempts)
    torch.testing.assert_close(found.logp_N, dense.logp_N, atol=1e-12, rtol=1e-12)


def test_padded_batches_are_scored_as_before(trained, attempts):
    """Between and after packed rows: sampling and evaluation go on with the same model."""
    model = trained(torch.float64)
    with torch.no_grad():
        before = reference(model, attempts)
        packed(model, attempts)
        after = reference(model, attempts)
    assert torch.equal(before.logp_N, after.logp_N)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_sampling_goes_on_as_before(trained, attempts, temperature):
    """With padding, prompts in common and a growing cache: the same tokens, with the same odds to the bit."""
    model = trained(torch.float32)
    sampling = Sampling(temperature=temperature, max_tokens=12)
    requests = [CompletionRequest((s[0],), i, sampling) for i, (s, _) in enumerate(attempts(model.renderer))]
    policy = LocalPolicy(model)
    before = complete(policy, requests)
    with torch.no_grad():
        packed(model, attempts)
    assert complete(policy, requests) == before


def test_work_is_done_once(trained, attempts):
    """The tower sees each distinct picture, the decoder each prompt, the head the loss tokens: once."""
    model = trained(torch.float32)
    branches = branches_of(model.renderer, attempts)
    row = pack(branches)
    seen: dict[str, list[int]] = {"tower": [], "decoder": [], "head": []}
    watched = {"tower": model.vision.blocks[0], "decoder": model.decoder.layers[0], "head": model.hf.lm_head}
    for name, module in watched.items():
        module.register_forward_pre_hook(lambda _, args, name=name: seen[name].append(args[0].shape[-2]))
    with torch.no_grad():
        packed(model, attempts)
    distinct = {block.key: block for b in branches for block in b.layout.blocks}
    assert seen["tower"] == [sum(np.prod(block.grid_thw) for block in distinct.values())]
    # The small crop was asked for twice, and is the image of a prompt too.
    assert len(row.layout.blocks) > len(distinct)
    assert seen["decoder"] == [len(row)]
    assert len(row) < sum(len(b.layout) for b in branches)
    assert seen["head"] == [sum(len(b.target_N) for b in branches)]


def test_scores_are_chunked(trained, attempts, monkeypatch):
    model = trained(torch.float32)
    expected = packed(model, attempts)
    wanted = gradients(model, expected)
    sizes = []
    model.hf.lm_head.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    monkeypatch.setattr(logprobs, "CHUNK", 5)
    found = packed(model, attempts)
    assert max(sizes) == 5
    torch.testing.assert_close(found.logp_N, expected.logp_N, atol=1e-6, rtol=0)
    assert_close(gradients(model, found), wanted, rtol=1e-5)


def test_autocast(trained, attempts):
    """In bfloat16 packed and padded rows differ by rounding only."""
    model = trained(torch.float32)

    def outcome(score) -> list[torch.Tensor]:
        scores = score(model, attempts)
        return [scores.logp_N.detach(), torch.cat([g.flatten() for g in gradients(model, scores).values()])]

    exact = outcome(reference)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, found = outcome(reference), outcome(packed)
    for e, r, f in zip(exact, rounded, found, strict=True):
        assert 0 < (f - e).norm() < 1.5 * (r - e).norm()
