"""What the group engine reads and keeps; whatever is lost costs time, and never changes a token.

1. A later turn samples what a fresh start would, and reads only what is new.
2. A prompt is read once for its group, whenever the rollouts come.
3. The cache is bounded, in sequences and in bytes; what is evicted is read again.
4. New weights drop all keys and values; every completion carries the version that sampled it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.reference.local_policy import LocalPolicy
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.models.features import FeatureStore
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.policy.base import CompletionRequest, Sampling
from pixelreasoner.policy.group import GroupPolicy
from policy_helpers import (
    GREEDY,
    SAMPLED,
    as_sampled,
    assert_same,
    expanded,
    finish,
    followed,
    likely_stops,
    of_prompts,
    sample,
    tokens_read,
)
from prompting import prompt_of

ONE, THREE = Sampling(max_tokens=1), Sampling(max_tokens=3)


@pytest.fixture
def folder(attending_folder):
    return attending_folder


def last_turns(requests, completions, renderer, images):
    return [
        followed(r, c, renderer, *i) for r, c, i in zip(requests, completions, images, strict=True)
    ]  # fmt: skip


# 1: later turns


def test_later_turns_sample_what_a_fresh_start_samples(model, requests, picture):
    reference = LocalPolicy(model)
    with likely_stops(model, by=4.0), GroupPolicy(model, batch_size=5).session() as engine:
        for turn in range(3):
            got = finish(engine, requests)
            assert_same(got, sample(reference, requests))
            images = [(picture(20 + i, 30, turn),) for i in range(len(requests))]
            requests = last_turns(requests, got, model.renderer, images)


def test_a_second_turn_reads_only_what_is_new(model, requests, picture):
    with GroupPolicy(model).session() as engine:
        first = finish(engine, requests)
        second = last_turns(requests, first, model.renderer, [(picture(30, 30),)] * len(requests))
        with tokens_read(model) as read:
            finish(engine, as_sampled(second, ONE))
    # The last token of a message was sampled, but not read yet.
    n_known = expanded(model, *requests) + sum(len(c.ids) - 1 for c in first)
    assert read == [expanded(model, *second) - n_known]


def test_two_may_continue_the_same_message(model, requests, picture):
    """One takes over what is in the cache, the other reads its sequence anew."""
    with GroupPolicy(model).session() as engine:
        [first] = finish(engine, requests[:1])
        fork = [followed(requests[0], first, model.renderer, picture(30, 30, s)) for s in range(2)]
        assert_same(finish(engine, fork), sample(LocalPolicy(model), fork))


def test_another_picture_of_the_same_size_is_another_conversation(model, requests, picture):
    reference, request = LocalPolicy(model), as_sampled(requests[:1], GREEDY)[0]
    with GroupPolicy(model).session() as engine:
        [first] = finish(engine, [request])
        for seed in range(2):
            second = followed(request, first, model.renderer, picture(30, 30, seed))
            [completion] = finish(engine, [second])
            third = followed(second, completion, model.renderer)
            other = second.segments[-1]
            swapped = Segment(other.ids, (picture(30, 30, 9),))
            segments = (*second.segments[:-1], swapped, *third.segments[-2:])
            third_of_another = replace(third, segments=segments)
            assert_same(finish(engine, [third_of_another]), sample(reference, [third_of_another]))


# 2: prompts


def test_a_group_reads_its_prompt_once(model, prompts):
    group = of_prompts(prompts[:1], 8, THREE)
    n = expanded(model, group[0])
    with tokens_read(model) as read:
        sample(GroupPolicy(model), group)
    assert read[0] == n
    assert sum(read) <= n + 8 * 2


def test_requests_that_come_later_share_the_prompt_too(model, prompts):
    group = of_prompts(prompts[:1], 16, THREE)
    n = expanded(model, group[0])
    with tokens_read(model) as read, GroupPolicy(model, batch_size=3).session() as engine:
        finish(engine, group[:8])
        finish(engine, group[8:])
    assert read[0] == n
    assert sum(read) <= n + 16 * 2


def test_prompts_share_one_pass(model, prompts):
    requests = of_prompts(prompts, 1, ONE)
    with tokens_read(model) as read:
        sample(GroupPolicy(model), requests)
    assert read == [expanded(model, *requests)]


def test_a_prompt_that_was_read_needs_no_pass(single, prompts):
    requests = of_prompts(prompts[:1], 4, ONE)
    with GroupPolicy(single).session() as engine:
        finish(engine, requests[:1])
        with tokens_read(single) as read:
            got = finish(engine, requests[1:])
    assert read == []
    assert_same(got, sample(LocalPolicy(single), requests[1:]))


def test_the_memory_of_a_session_is_free_when_it_ends(model, requests):
    policy = GroupPolicy(model)
    with policy.session() as engine:
        finish(engine, requests[:1])
    with policy.session() as engine, tokens_read(model) as read:
        finish(engine, as_sampled(requests[:1], ONE))
    assert read == [expanded(model, requests[0])]


# 3: bounds


def test_the_number_of_sequences_and_prompts_is_bounded(model):
    with GroupPolicy(model, batch_size=2).session() as engine:
        for seed in range(20):
            text = prompt_of(model.renderer, Task("t", f"Question {seed}?", (), ()), ())
            finish(engine, [CompletionRequest((text,), seed, Sampling(max_tokens=2))])
        cache = engine._cache
    assert len(cache.sequences) == 4
    assert len(cache.prompts) <= 4 + 9


def test_a_released_conversation_is_evicted(model, requests):
    n = 0
    with GroupPolicy(model).session() as engine:
        for request in requests:
            engine.submit(request)
        while n < len(requests):
            for request_id, _ in engine.step():
                engine.release(request_id)
                n += 1
        assert len(engine._cache.sequences) == 0


def test_the_oldest_preempted_sequence_is_evicted_and_read_anew(model, prompts):
    requests = of_prompts(prompts[3:], 3)
    with GroupPolicy(model, batch_size=1).session() as engine:  # two sequences are kept
        first = finish(engine, requests)
        later = as_sampled(last_turns(requests, first, model.renderer, [()] * 3), ONE)
        n_new = expanded(model, later[0]) - expanded(model, requests[0])
        for index, reads_all in ((2, False), (0, True)):
            with tokens_read(model) as read:
                got = finish(engine, [later[index]])
            assert_same(got, sample(LocalPolicy(model), [later[index]]))
            assert (sum(read) == n_new) is reads_all


def bytes_held(engine):
    pools = engine._cache.prompts.pool, engine._cache.sequences.pool
    layers = [layer for pool in pools for layer in pool._layers if layer is not None]
    return sum(layer.numel() * layer.element_size() for layer in layers)


def watched(engine, requests):
    """`finish`, and the most bytes of keys and values after any step."""
    index = {engine.submit(request): i for i, request in enumerate(requests)}
    done, most = {}, 0
    while len(done) < len(requests):
        for request_id, completion in engine.step():
            done[index[request_id]] = completion
        most = max(most, bytes_held(engine))
    return [done[i] for i in range(len(requests))], most


def count_calls(engine, name, monkeypatch):
    calls, real = [], getattr(engine, name)
    monkeypatch.setattr(engine, name, lambda *args: (calls.append(args), real(*args)))
    return calls


@pytest.mark.parametrize("blocks", [4, 7, 30])
def test_keys_and_values_stay_within_their_bytes(model, requests, picture, blocks, monkeypatch):
    """Requests wait, and running ones are preempted; the tokens are the same."""
    requests = as_sampled(requests, Sampling(max_tokens=90))  # past the first block of 64 tokens
    layers = model.decoder.layers
    heads, width = model.decoder.config.num_key_value_heads, layers[0].self_attn.head_dim
    budget = blocks * 64 * 2 * len(layers) * heads * width * 8
    with likely_stops(model, by=1.0):
        with GroupPolicy(model, kv_cache_bytes=10**12).session() as engine:
            free, most = watched(engine, requests)
        assert most > 30 * budget // blocks, "the budget would not matter"
        with GroupPolicy(model, kv_cache_bytes=budget).session() as engine:
            preempted = count_calls(engine, "_preempt", monkeypatch)
            got, most = watched(engine, requests)
            assert 0 < most <= budget
            assert preempted or blocks > 7
            assert_same(got, free)
            second = last_turns(requests, got, model.renderer, [(picture(30, 30),)] * len(requests))
            later, most = watched(engine, as_sampled(second, GREEDY))
            assert most <= budget
        assert_same(later, sample(LocalPolicy(model), second, GREEDY))


def test_a_budget_too_small_for_one_conversation_is_refused(model, requests):
    with pytest.raises(ConfigError, match="kv_cache_bytes"):
        sample(GroupPolicy(model, kv_cache_bytes=10_000), requests)


# 4: weights


def shifted(model, seed):
    """Other weights of the decoder's layers, by their names in the checkpoint."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: p.detach() + 0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
        for name, p in model.hf.named_parameters()
        if "language_model.layers" in name
    }


@pytest.fixture
def own(folder):
    """A model that may be changed."""
    return VisionLanguageModel.load(folder).eval()


def test_new_weights_drop_the_keys_of_the_old_ones(own, prompts):
    policy = GroupPolicy(own)
    request = CompletionRequest((prompts[3],), 1, SAMPLED)
    with policy.session() as engine:
        [first] = finish(engine, [request])
        policy.load_weights(shifted(own, 2).items(), version=5)
        for later in (request, followed(request, first, own.renderer)):
            got = finish(engine, [later])
            assert_same(got, sample(LocalPolicy(own), [later]))
            assert got[0].weight_version == policy.weight_version == 5


def test_weights_that_are_shared_are_not_copied(own):
    policy = GroupPolicy(own)
    before = {name: (p.data_ptr(), p._version) for name, p in own.hf.named_parameters()}
    policy.load_weights(own.hf.named_parameters(), version=1)
    assert {name: (p.data_ptr(), p._version) for name, p in own.hf.named_parameters()} == before
    assert policy.weight_version == 1


def test_weights_may_change_in_the_middle_of_a_message(own, prompts):
    """What was sampled stays; what follows is sampled by the new weights, from all tokens read anew."""
    policy, request = GroupPolicy(own), CompletionRequest((prompts[0],), 3, Sampling(max_tokens=8))
    old = sample(policy, [request])[0]
    with policy.session() as engine:
        engine.submit(request)
        for _ in range(3):
            assert engine.step() == []
        policy.load_weights(shifted(own, 3).items(), version=2)
        done = []
        while not done:
            done = engine.step()
        [(_, got)] = done
    assert got.ids[:3] == old.ids[:3]
    assert got.logprobs[3:] != pytest.approx(old.logprobs[3:], abs=1e-3)
    assert got.weight_version == 0
    assert len(got.ids) == 8


def test_new_weights_of_the_tower_drop_its_features(own, requests, monkeypatch):
    policy = GroupPolicy(own, features=FeatureStore(own))
    sample(policy, requests[:1], ONE)
    tower = {n: p.detach() * 1.5 for n, p in own.hf.named_parameters() if "visual" in n}
    policy.load_weights(tower.items(), version=1)
    got = sample(policy, requests[:1], ONE)
    assert_same(got, sample(LocalPolicy(own, features=FeatureStore(own)), requests[:1], ONE))
