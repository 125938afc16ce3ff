"""What the tests of policies share: requests, ways of completing them, and counters."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from pixelreasoner.core.trajectory import Observation, Segment
from pixelreasoner.policy.base import CompletionRequest, Sampling, complete

GREEDY = Sampling(temperature=0.0, max_tokens=12)
SAMPLED = Sampling(max_tokens=12)


def sample(policy, requests, sampling=None, on_token=None):
    """One completion per request, in a session of their own."""
    return complete(policy, requests if sampling is None else as_sampled(requests, sampling), on_token)


def as_sampled(requests, sampling):
    return [replace(request, sampling=sampling) for request in requests]


def finish(engine, requests):
    """One completion per request, in order, in a session that is open."""
    index = {engine.submit(request): i for i, request in enumerate(requests)}
    done = {}
    while len(done) < len(requests):
        for request_id, completion in engine.step():
            done[index[request_id]] = completion
    return [done[i] for i in range(len(requests))]


def followed(request, completion, renderer, *images):
    """The request for the next turn: the message and what its operation returned."""
    stop = () if completion.finish == "stop" else (min(renderer.stop_ids),)
    observed = renderer.observation(Observation("Image 2:", images))
    segments = (*request.segments, Segment(completion.ids), Segment((*stop, *observed.ids), observed.media))
    return replace(request, segments=segments, seed=request.seed + 7)


def assert_same(got, expected, *, tolerance=1e-5):
    assert [c.ids for c in got] == [c.ids for c in expected]
    assert [c.finish for c in got] == [c.finish for c in expected]
    for a, b in zip(got, expected, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=tolerance)


def expanded(model, *requests):
    """Tokens of the requests, those of pictures counted."""
    return sum(len(model.renderer.layout(request.segments)) for request in requests)


@contextmanager
def likely_stops(model, by=5.0):
    """Messages of random length: the stop token gets a good chance."""
    bias = torch.zeros(model.hf.lm_head.out_features)
    bias[min(model.renderer.stop_ids)] = by
    hook = model.hf.lm_head.register_forward_hook(lambda module, args, out: out + bias.to(out.dtype))
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def tokens_read(model):
    """Collects how many tokens each pass of the decoder reads."""
    seen: list[int] = []

    def note(module, args, kwargs):
        seen.append(kwargs["inputs_embeds"].shape[:2].numel())

    hook = model.decoder.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        hook.remove()


def of_prompts(prompts, group, sampling=SAMPLED):
    """A group of requests for each prompt."""
    return [
        CompletionRequest((p,), 100 * i + k, sampling) for i, p in enumerate(prompts) for k in range(group)
    ]
