"""The group engine samples what the reference samples.

1. Greedy: token by token what a batch of one, and transformers' own `generate`, give in float32.
2. Sampled: what the reference samples for the same seeds, whatever else is in the batch, comes or leaves.
3. In the loop: the same trajectories.

What it reads and what it keeps is in `test_prefix_cache.py`.
"""

from __future__ import annotations

import copy
import zlib

import numpy as np
import pytest
import torch

from benchmarks.reference.local_policy import LocalPolicy
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.messages import Parsed, ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.env.interaction import Interaction
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout
from pixelreasoner.models.patches import patch_rows
from pixelreasoner.policy import engine as engine_module
from pixelreasoner.policy.base import CompletionRequest, Sampling
from pixelreasoner.policy.group import GroupPolicy
from policy_helpers import (
    GREEDY,
    SAMPLED,
    as_sampled,
    assert_same,
    finish,
    followed,
    likely_stops,
    of_prompts,
    sample,
)

# 1: greedy


@pytest.fixture
def folder(attending_folder):
    return attending_folder


def test_greedy_equals_one_at_a_time(single, requests):
    reference = sample(LocalPolicy(single, batch_size=1), requests, GREEDY)
    assert_same(sample(GroupPolicy(single), requests, GREEDY), reference)


def test_greedy_equals_generate(single, prompts):
    """transformers' own loop, on an untouched model with the same weights, one prompt at a time."""
    config = copy.deepcopy(single.hf.config)
    config.vision_config._attn_implementation = "sdpa"
    stock = type(single.hf)._from_config(config, dtype=torch.float32, attn_implementation="sdpa").eval()
    stock.load_state_dict(single.hf.state_dict())
    renderer = single.renderer
    for prompt in (prompts[0], prompts[1], prompts[3]):
        layout = renderer.layout([prompt])
        inputs = {"input_ids": torch.from_numpy(layout.ids_T)[None]}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs["mm_token_type_ids"] = torch.from_numpy(layout.kind_T.astype(np.int64))[None]
        if layout.blocks:
            inputs["pixel_values"] = patch_rows(layout.blocks, renderer.vision, single.device)
            inputs["image_grid_thw"] = torch.tensor([b.grid_thw for b in layout.blocks])
        out = stock.generate(
            **inputs, do_sample=False, max_new_tokens=12, eos_token_id=sorted(renderer.stop_ids),
            suppress_tokens=sorted(renderer.forbidden_ids), pad_token_id=min(renderer.stop_ids),
        )  # fmt: skip
        [got] = sample(GroupPolicy(single), [CompletionRequest((prompt,), 0, GREEDY)])
        assert got.ids == tuple(out[0, len(layout) :].tolist())


# 2: sampled


@pytest.mark.parametrize("sampling", [SAMPLED, Sampling(temperature=0.6, top_p=0.8, max_tokens=12)])
def test_samples_equal_those_of_the_reference(single, requests, sampling):
    with likely_stops(single, by=4.0):
        reference = sample(LocalPolicy(single, batch_size=1), requests, sampling)
        got = sample(GroupPolicy(single), requests, sampling)
    assert_same(got, reference)
    assert len({len(c.ids) for c in got}) > 2, "messages of one length would not leave at different times"


@pytest.mark.parametrize(("batch_size", "prefill_tokens"), [(1, 10_000), (2, 1), (5, 40), (100, 10_000)])
def test_the_batch_does_not_matter(model, requests, batch_size, prefill_tokens):
    with likely_stops(model):
        reference = sample(LocalPolicy(model), requests)
        policy = GroupPolicy(model, batch_size=batch_size, prefill_tokens=prefill_tokens)
        assert_same(sample(policy, requests), reference)
        assert_same(sample(policy, requests[::-1]), reference[::-1])


def test_each_request_has_its_own_sampling(model, requests):
    """Many users, one batch: the tokens are those that each request gets alone."""
    samplings = [
        Sampling(temperature=t, top_p=p, max_tokens=n)
        for t, p, n in ((0.0, 1.0, 12), (0.6, 0.8, 5), (1.0, 1.0, 1), (1.3, 0.5, 9))
    ]
    mixed = [as_sampled([r], samplings[i % 4])[0] for i, r in enumerate(requests)]
    with likely_stops(model, by=3.0):
        together = sample(GroupPolicy(model), mixed)
        alone = [sample(GroupPolicy(model), [request])[0] for request in mixed]
    assert_same(together, alone)
    assert all(len(c.ids) <= r.sampling.max_tokens for c, r in zip(together, mixed, strict=True))


def test_requests_may_come_and_go_at_any_step(model, requests, monkeypatch):
    monkeypatch.setattr(engine_module, "PREFILL_BATCHING_THRESHOLD", 100)
    order = np.random.default_rng(0).permutation(len(requests)).tolist()
    done, index = {}, {}
    with likely_stops(model):
        reference = sample(LocalPolicy(model), requests)
        with GroupPolicy(model, batch_size=7).session() as engine:
            while len(done) < len(requests):
                if order:
                    which = order.pop()
                    index[engine.submit(requests[which])] = which
                for request_id, completion in engine.step():
                    done[index[request_id]] = completion
                    if request_id % 2:
                        engine.release(request_id)
    assert_same([done[i] for i in range(len(requests))], reference)


def test_a_released_request_is_aborted_and_the_others_go_on(model, requests):
    """Waiting or running."""
    with GroupPolicy(model, batch_size=5).session() as engine:
        ids = [engine.submit(request) for request in requests]
        done = dict(engine.step())
        for aborted in (ids[1], ids[-1]):
            engine.release(aborted)
        while len(done) < len(requests) - 2:
            done.update(engine.step())
        assert engine.step() == []
    kept = [i for i in ids if i not in (ids[1], ids[-1])]
    assert_same([done[i] for i in kept], sample(LocalPolicy(model), [requests[ids.index(i)] for i in kept]))


def test_tokens_are_streamed_as_they_are_sampled(model, requests):
    seen = {i: [] for i in range(len(requests))}
    policy = GroupPolicy(model, batch_size=5)
    done = sample(policy, requests, on_token=lambda i, token: seen[i].append(token))
    assert [tuple(seen[i]) for i in seen] == [c.ids for c in done]


def test_bfloat16_stays_close(single, requests):
    sampling = Sampling(temperature=0.0, max_tokens=1)
    exact = sample(GroupPolicy(single), requests, sampling)
    rounded = GroupPolicy(single, precision="bf16")
    first = sample(rounded, requests, sampling)
    assert [c.logprobs[0] for c in first] == pytest.approx([c.logprobs[0] for c in exact], abs=0.05)
    long = sample(rounded, requests)
    reference = sample(LocalPolicy(single, precision="bf16"), requests)
    same = [
        a.logprobs[0] - b.logprobs[0] for a, b in zip(long, reference, strict=True) if a.ids[0] == b.ids[0]
    ]
    assert same == pytest.approx([0.0] * len(same), abs=0.05)


@pytest.mark.parametrize("batch_size", [3, 100])
def test_the_same_calls_give_the_same_bits(single, requests, picture, batch_size):
    policy, seen = GroupPolicy(single, batch_size=batch_size), []
    for _ in range(2):
        with likely_stops(single), policy.session() as engine:
            first = finish(engine, requests)
            later = [
                followed(r, c, single.renderer, picture(30, 30)) for r, c in zip(requests, first, strict=True)
            ]
            seen.append([(c.ids, c.logprobs) for c in first + finish(engine, later)])
    assert seen[0] == seen[1]


def test_one_session_at_a_time(model):
    policy = GroupPolicy(model)
    with policy.session(), pytest.raises(AssertionError, match="one session"), policy.session():
        pass
    with pytest.raises(AssertionError, match="no sequence"):
        GroupPolicy(model, batch_size=0)


def test_an_interrupted_session_leaves_nothing_behind(model, requests):
    policy = GroupPolicy(model)

    def interrupted(index, token):
        if index == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(policy, requests, on_token=interrupted)
    assert_same(sample(policy, requests), sample(LocalPolicy(model), requests))


def test_the_model_is_left_as_it_was(single, requests):
    single.train()
    before = single.decoder.config._attn_implementation
    sample(GroupPolicy(single), requests[:1], Sampling(max_tokens=1))
    assert single.training
    assert single.decoder.config._attn_implementation == before
    single.eval()


# 3: in the loop


class Eager:
    """A renderer that reads about two thirds of all messages as a call for a crop, whatever they hold."""

    def __init__(self, renderer):
        self._renderer = renderer

    def __getattr__(self, name):
        return getattr(self._renderer, name)

    def parse(self, text, tools=()):
        fate = zlib.crc32(text.encode()) % 6
        if fate < 2:
            return Parsed(text, answer=text)
        whole = 1000 if self.vision.unit is Unit.RELATIVE else 40  # the pictures are 48x40
        box = [0, 0, whole, whole * fate // 6]
        return Parsed(text, call=ToolCall("crop_image", {"bbox_2d": box, "target_image": 1}))


@pytest.mark.parametrize("batch_size", [3, 100])
def test_rollouts_equal_those_of_the_reference(model, picture, batch_size):
    renderer = Eager(model.renderer)
    tasks = [Task(str(i), f"What is it? {i}", (picture(48, 40, i),), ()) for i in range(3)]
    requests = [RolloutRequest(task, seed=10 * i + k) for i, task in enumerate(tasks) for k in range(4)]

    def trajectories(policy):
        return rollout(
            requests,
            policy=policy,
            renderer=renderer,
            toolbox=Interaction().toolbox(model.renderer.vision.unit, model.renderer.chat_format),
            sampling=Sampling(max_tokens=30),
            limits=Limits(max_operations=3),
        )

    with likely_stops(model):
        expected = trajectories(LocalPolicy(model))
        got = trajectories(GroupPolicy(model, batch_size=batch_size))
    assert max(t.n_operations for t in got) >= 2
    for a, b in zip(got, expected, strict=True):
        assert (a.stop, a.answer, a.n_operations) == (b.stop, b.answer, b.n_operations)
        assert [s.ids for s in a.segments] == [s.ids for s in b.segments]
        for s, t in zip(a.segments, b.segments, strict=True):
            assert s.logprobs == pytest.approx(t.logprobs, abs=1e-5)


def test_many_prompts_of_many_users(model, prompts):
    """More requests than run at a time, in groups of different size: the order does not matter."""
    requests = [r for i, p in enumerate(prompts) for r in of_prompts([p], 1 + 2 * i)]
    shuffled = np.random.default_rng(1).permutation(len(requests)).tolist()
    got = sample(GroupPolicy(model, batch_size=4), [requests[i] for i in shuffled])
    reference = sample(LocalPolicy(model), requests)
    assert_same(got, [reference[i] for i in shuffled])
