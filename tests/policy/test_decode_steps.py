"""Steps of decoding in fixed memory give what steps in their own shape give, and few shapes serve all.

A capture here replays by calling the function again. It notes where weights, keys and values lay when it
captured, which is what a captured graph would read for ever, and fails when they lie elsewhere later.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelreasoner.models import static_states
from pixelreasoner.models import static_steps as module
from pixelreasoner.policy import engine as engine_module
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.decode_steps import DYNAMIC, GRAPHS, STATIC, DecodeMode, mode_on
from pixelreasoner.policy.group import GroupPolicy
from pixelreasoner.policy.recurrent import RecurrentEngine
from policy_helpers import GREEDY, SAMPLED, as_sampled, assert_same, finish, followed, likely_stops, sample


def held_by(engine):
    """All that the engine keeps of what was read."""
    if isinstance(engine, RecurrentEngine):
        batch = engine._batch
        layers = [layer for layer in batch._held._layers if layer is not None]
        return layers + [x for pair in batch._states.values() for x in pair]
    pools = engine._cache.prompts.pool, engine._cache.sequences.pool
    return [layer for pool in pools for layer in pool._layers]


def n_captured(engine):
    owner = engine._batch if isinstance(engine, RecurrentEngine) else engine._decode
    return owner.steps.n_captured


class Captured:
    def __init__(self, function, places):
        self._function, self._places, self._captured_at = function, places, places()
        self.alive = True

    def replay(self):
        assert self.alive, "replayed after it was given up"
        assert self._places() == self._captured_at, "keys, values or weights lie elsewhere now"
        self._function()


class Capture:
    """Captures everything, or what `refuses` does not."""

    def __init__(self, model, refuses=lambda n: False):
        self._model, self._refuses = model, refuses
        self.engine = None
        self.captured: list[Captured] = []
        self.n_cleared = 0

    def __call__(self, function):
        function()
        if self._refuses(len(self.captured)):
            return None
        self.captured.append(Captured(function, self._places))
        return self.captured[-1]

    def clear(self):
        self.n_cleared += 1
        for each in self.captured:
            each.alive = False

    def _places(self):
        held = [x.data_ptr() for x in held_by(self.engine)]
        return held + [weight.data_ptr() for weight in self._model.decoder.parameters()]


def capturing(model, **options):
    """A policy whose engine captures, and the capture of the next session."""
    capture = Capture(model, options.pop("refuses", lambda n: False))
    return GroupPolicy(model, decode_mode=DecodeMode(True, lambda device: capture), **options), capture


def run(policy, capture, requests):
    with policy.session() as engine:
        capture.engine = engine
        return finish(engine, requests)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, Sampling(temperature=0.6, top_p=0.8, max_tokens=12)])
def test_fixed_memory_gives_the_same(single, requests, sampling):
    with likely_stops(single, by=4.0):
        expected = sample(GroupPolicy(single, decode_mode=DYNAMIC), requests, sampling)
        got = sample(GroupPolicy(single, decode_mode=STATIC), requests, sampling)
    assert_same(got, expected)
    assert len({len(c.ids) for c in got}) > 2 or sampling is GREEDY


@pytest.mark.parametrize("batch_size", [3, 5, 100])
def test_turns_of_captured_steps(single, requests, picture, batch_size):
    """Messages stop at different times, conversations go on, and wait in the cache meanwhile."""
    seen = []
    for policy, capture in ((GroupPolicy(single), None), capturing(single, batch_size=batch_size)):
        with likely_stops(single), policy.session() as engine:
            if capture is not None:
                capture.engine = engine
            first = finish(engine, requests)
            later = [
                followed(r, c, single.renderer, picture(30, 30)) for r, c in zip(requests, first, strict=True)
            ]
            seen.append(first + finish(engine, later))
    assert_same(seen[1], seen[0])
    assert capture.captured


def test_requests_may_come_and_go_at_any_step(single, requests, monkeypatch):
    monkeypatch.setattr(engine_module, "PREFILL_BATCHING_THRESHOLD", 100)
    order = np.random.default_rng(0).permutation(len(requests)).tolist()
    done, index = {}, {}
    policy, capture = capturing(single, batch_size=7)
    with likely_stops(single):
        expected = sample(GroupPolicy(single), requests)
        with policy.session() as engine:
            capture.engine = engine
            while len(done) < len(requests):
                if order:
                    which = order.pop()
                    index[engine.submit(requests[which])] = which
                for request_id, completion in engine.step():
                    done[index[request_id]] = completion
    assert_same([done[i] for i in range(len(requests))], expected)


def test_growing_pools_give_up_what_was_captured(single, requests, monkeypatch):
    monkeypatch.setattr(static_states, "SPARE_TOKENS", 0)
    long = Sampling(max_tokens=150)  # beyond two blocks of tokens
    policy, capture = capturing(single)
    assert_same(
        run(policy, capture, as_sampled(requests[:3], long)),
        sample(GroupPolicy(single), requests[:3], long),
    )
    alive = [each for each in capture.captured if each.alive]
    assert capture.n_cleared >= 2
    assert len(alive) < len(capture.captured)


def test_a_small_budget_preempts_and_gives_the_same(single, requests):
    """Rows that wait lie behind the running ones, where inert rows are."""
    with GroupPolicy(single).session() as engine:
        finish(engine, requests)
        if single.recurrent:
            n_bytes = 4 * max(kept.state.n_bytes for kept in engine._kept.values())
        else:
            n_bytes = token_bytes(single) * (engine._cache.prompts.pool.capacity + 4 * 64)
    policy, capture = capturing(single, kv_cache_bytes=n_bytes)
    assert_same(run(policy, capture, requests), sample(GroupPolicy(single), requests))
    assert capture.captured or single.recurrent, "recurrent layers: each step trims, and so gives them up"


def token_bytes(model):
    """Of the keys and values of a token."""
    return 10**9 // GroupPolicy(model, kv_cache_bytes=10**9).new_prefix_cache().max_tokens


def test_new_weights_in_an_open_session(single, requests):
    """In place, by the policy: what was captured is given up with the keys and values."""
    changed = {
        k: v + 0.01 * torch.randn_like(v) for k, v in single.hf.state_dict().items() if v.is_floating_point()
    }
    seen = []
    before = {k: v.clone() for k, v in single.hf.state_dict().items()}
    for policy, capture in ((GroupPolicy(single), None), capturing(single)):
        single.hf.load_state_dict(before)
        with policy.session() as engine:
            if capture is not None:
                capture.engine = engine
            ids = [engine.submit(request) for request in requests]
            for _ in range(4):
                engine.step()
            if capture is not None:
                assert capture.captured
            policy.load_weights(changed.items(), 1)
            assert capture is None or n_captured(engine) == 0
            done = {}
            while len(done) < len(ids):
                done.update(engine.step())
            seen.append([done[i] for i in ids])
    assert_same(seen[1], seen[0])


def test_a_weight_with_other_memory(single, requests):
    policy, capture = capturing(single)
    with policy.session() as engine:
        capture.engine = engine
        ids = [engine.submit(request) for request in requests]
        for _ in range(4):
            engine.step()
        assert n_captured(engine) == 1
        layer = single.decoder.layers[0].mlp.gate_proj
        layer.weight = torch.nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        engine.step()
        assert n_captured(engine) == 0
        done = {}
        while len(done) < len(ids):
            done.update(engine.step())
    assert_same([done[i] for i in ids], sample(GroupPolicy(single), requests))


def test_what_cannot_be_captured_runs_on(single, requests):
    policy, capture = capturing(single, refuses=lambda n: True)
    assert_same(run(policy, capture, requests), sample(GroupPolicy(single), requests))
    assert capture.captured == []


def test_few_shapes_are_remembered(single, requests, monkeypatch):
    monkeypatch.setattr(module, "MOST_SHAPES", 1)
    policy, capture = capturing(single)
    with likely_stops(single):
        assert_same(run(policy, capture, requests), sample(GroupPolicy(single), requests))


def test_the_device_says_how():
    assert mode_on(torch.device("cpu")) is DYNAMIC
    assert mode_on(torch.device("cuda", 0)) is GRAPHS
