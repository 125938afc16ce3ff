"""The reference policy: what it samples, that it is reproducible, that its log-probabilities are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.reference.local_policy import LocalPolicy
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.nano.padded import score_padded
from pixelreasoner.policy.base import CompletionRequest, Sampling, complete
from prompting import prompt_of


@pytest.fixture
def folder(attending_folder):
    """Its cache holds keys and values only."""
    return attending_folder


@pytest.fixture
def requests(renderer, picture, video):
    """Prompts of different lengths: one picture, two pictures, a video, no media."""
    media = [(picture(40, 30),), (picture(20, 50), picture(33, 33, 1)), (video(5),), ()]
    prompts = [
        prompt_of(renderer, Task(str(i), "What is it?" + "?" * i, m, ()), ()) for i, m in enumerate(media)
    ]
    return [CompletionRequest((p,), 100 + i, Sampling()) for i, p in enumerate(prompts)]


def sample(policy, requests, sampling, on_token=None):
    return complete(policy, [replace(request, sampling=sampling) for request in requests], on_token)


def plain_greedy(model, segments, n):
    """One token at a time, the whole conversation through the model each time: no cache, no batch."""
    renderer, ids, logps = model.renderer, [], []
    for _ in range(n):
        layout = renderer.layout((*segments, Segment(tuple(ids))))
        hidden = model(model.embed([layout], model.encode(layout.blocks), left=False))
        scores = model.logits(hidden[0, -1])
        scores[list(renderer.forbidden_ids)] = -torch.inf
        logps.append(scores.log_softmax(-1).max().item())
        ids.append(int(scores.argmax()))
        if ids[-1] in renderer.stop_ids:
            break
    return tuple(ids), logps


@torch.no_grad()
def test_greedy_equals_a_plain_loop_without_cache_or_batch(model, requests):
    got = sample(LocalPolicy(model), requests, Sampling(temperature=0.0, max_tokens=12))
    for request, completion in zip(requests, got, strict=True):
        ids, logps = plain_greedy(model, request.segments, 12)
        assert completion.ids == ids
        assert completion.logprobs == pytest.approx(logps, abs=1e-6)


def test_a_request_samples_the_same_alone_and_in_any_batch(model, requests):
    sampling = Sampling(max_tokens=10)
    together = sample(LocalPolicy(model), [*requests, *requests], sampling)
    small = sample(LocalPolicy(model, batch_size=3), list(reversed(requests)), sampling)
    for i, request in enumerate(requests):
        [alone] = sample(LocalPolicy(model), [request], sampling)
        assert alone.ids == together[i].ids == together[i + 4].ids == small[-1 - i].ids


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_recorded_log_probs_are_those_the_trainer_computes(model, requests, temperature):
    policy = LocalPolicy(model)
    done = sample(policy, requests, Sampling(temperature=temperature, max_tokens=8))
    rows = []
    for request, completion in zip(requests, done, strict=True):
        mask = np.zeros(len(request.segments[0].ids) + len(completion.ids), bool)
        mask[len(request.segments[0].ids) :] = True
        rows.append((model.renderer.layout((*request.segments, Segment(completion.ids))), mask))
    features = policy.features(b for layout, _ in rows for b in layout.blocks)
    with torch.no_grad():
        scores = score_padded(
            model, rows, features, temperature=temperature, forbidden_ids=model.renderer.forbidden_ids
        )
    recorded = [p for completion in done for p in completion.logprobs]
    assert scores.logp_N.tolist() == pytest.approx(recorded, abs=1e-5)


def test_samples_follow_the_distribution(model, requests):
    """2,000 first tokens against the model's own probabilities, by total variation."""
    n = 2000
    same = [replace(requests[0], seed=i) for i in range(n)]
    done = sample(LocalPolicy(model, batch_size=1000), same, Sampling(max_tokens=1))
    layout = model.renderer.layout(requests[0].segments)
    with torch.no_grad():
        hidden = model(model.embed([layout], model.encode(layout.blocks), left=False))
        scores = model.logits(hidden[0, -1])
    scores[list(model.renderer.forbidden_ids)] = -torch.inf
    top = scores.softmax(-1).topk(5)
    for p, token in zip(top.values.tolist(), top.indices.tolist(), strict=True):
        share = np.mean([c.ids[0] == token for c in done])
        assert share == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5 + 1e-3)


def test_forbidden_tokens_are_never_sampled(model, requests):
    """Even where the model wants nothing else."""
    bias = torch.zeros(model.hf.lm_head.out_features, dtype=torch.float64)
    bias[list(model.renderer.forbidden_ids)] = 1e3
    hook = model.hf.lm_head.register_forward_hook(lambda module, args, out: out + bias)
    try:
        done = sample(LocalPolicy(model), requests, Sampling(max_tokens=6))
    finally:
        hook.remove()
    assert not any(set(c.ids) & model.renderer.forbidden_ids for c in done)


def test_a_message_ends_with_its_stop_token_or_at_the_limit(model, requests):
    stop = sorted(model.renderer.stop_ids)[0]
    bias = torch.zeros(model.hf.lm_head.out_features, dtype=torch.float64)
    bias[stop] = 6.0  # a stop is likely at each step
    hook = model.hf.lm_head.register_forward_hook(lambda module, args, out: out + bias)
    try:
        many = [replace(r, seed=s) for s in range(10) for r in requests]
        done = sample(LocalPolicy(model), many, Sampling(max_tokens=5))
    finally:
        hook.remove()
    assert {c.finish for c in done} == {"stop", "length"}
    for c in done:
        inside = c.ids[:-1] if c.finish == "stop" else c.ids
        assert not set(inside) & model.renderer.stop_ids
        assert (c.ids[-1] in model.renderer.stop_ids) is (c.finish == "stop")
        assert c.finish == "stop" or len(c.ids) == 5


def test_tokens_are_streamed_as_they_are_sampled(model, requests):
    seen: dict[int, list[int]] = {i: [] for i in range(4)}
    done = sample(
        LocalPolicy(model, batch_size=3),
        requests,
        Sampling(max_tokens=4),
        lambda i, token: seen[i].append(token),
    )
    assert [tuple(seen[i]) for i in range(4)] == [c.ids for c in done]


def test_a_group_shares_its_prompt_and_its_pictures(model, requests, monkeypatch):
    """Eight rollouts of one task: the tower sees one picture, the decoder one prompt."""
    rows = []
    real = type(model).embed

    def counted(self, layouts, features, *, left):
        rows.append(len(layouts))
        return real(self, layouts, features, left=left)

    monkeypatch.setattr(type(model), "embed", counted)
    group = [replace(requests[0], seed=i) for i in range(8)]
    sample(LocalPolicy(model), group, Sampling(max_tokens=2))
    assert rows == [1]


def test_frozen_features_are_remembered_and_free_ones_are_not(model, requests, monkeypatch):
    layout = model.renderer.layout(requests[1].segments)
    passed = []
    real = type(model).encode

    def counted(self, blocks):
        blocks = list(blocks)
        passed.append(len(blocks))
        return real(self, blocks)

    monkeypatch.setattr(type(model), "encode", counted)
    for frozen, expected in ((True, [2, 0]), (False, [2, 2])):
        passed.clear()
        model.vision.requires_grad_(not frozen)
        store = FeatureStore(model)
        store(layout.blocks)
        store(layout.blocks)
        assert passed == expected
    model.vision.requires_grad_(True)
