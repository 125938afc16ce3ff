"""The group engine: it draws what the plain engine draws, and reads every token once.

1. Greedy: token by token what a batch of one, and transformers' own `generate`, give in float32.
2. Sampled: what `LocalPolicy` draws for the same seeds, whoever else is in the batch, comes or leaves.
3. A later turn draws what a fresh start would, and reads only what is new.
4. A prompt is read once for its group, whenever the attempts come.
5. New weights, an abandoned session and a full memory cost time, never truth.
"""

from __future__ import annotations

import copy
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pixelreasoner.chat.tools import toolbox_for
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.messages import Parsed, ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout
from pixelreasoner.models.patches import patch_rows
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.policy import group as group_module
from pixelreasoner.policy.base import Request, Sampling
from pixelreasoner.policy.group import GroupPolicy
from pixelreasoner.policy.local import LocalPolicy

GREEDY = Sampling(temperature=0.0, max_tokens=12)
DRAWN = Sampling(max_tokens=12)


@pytest.fixture
def single(model, folder):
    """The model in float32."""
    out = VisionLanguageModel.load(folder).eval()
    out.load_state_dict(model.state_dict())
    return out


@pytest.fixture
def prompts(renderer, picture, video):
    """Of different lengths: one picture, two pictures, a video, no media."""
    media = [(picture(40, 30),), (picture(20, 50), picture(33, 33, 1)), (video(5),), ()]
    return [renderer.prompt(Task(str(i), "What is it?" + "?" * i, m, ()), ()) for i, m in enumerate(media)]


@pytest.fixture
def requests(prompts):
    """Three attempts at each prompt."""
    return [Request((p,), seed=100 * i + k) for i, p in enumerate(prompts) for k in range(3)]


@contextmanager
def likely_stops(model, by=5.0):
    """Messages of random length: the stop token is given a good chance."""
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


def assert_same(got, expected, *, tolerance=1e-5):
    assert [c.ids for c in got] == [c.ids for c in expected]
    assert [c.finish for c in got] == [c.finish for c in expected]
    for a, b in zip(got, expected, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=tolerance)


def followed(request, completion, renderer, *images):
    """The request for the next turn: the message and what its operation returned."""
    stop = () if completion.finish == "stop" else (min(renderer.stop_ids),)
    observed = renderer.observation(Observation("Image 2:", images))
    segments = (*request.segments, Segment(completion.ids), Segment((*stop, *observed.ids), observed.media))
    return Request(segments, seed=request.seed + 7)


# 1: greedy


def test_greedy_equals_one_at_a_time(single, requests):
    reference = LocalPolicy(single, batch_size=1).sample(requests, GREEDY)
    assert_same(GroupPolicy(single).sample(requests, GREEDY), reference)


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
            inputs["pixel_values"] = patch_rows(layout.blocks, renderer, single.device)
            inputs["image_grid_thw"] = torch.tensor([b.grid_thw for b in layout.blocks])
        out = stock.generate(
            **inputs, do_sample=False, max_new_tokens=12, eos_token_id=sorted(renderer.stop_ids),
            suppress_tokens=sorted(renderer.forbidden_ids), pad_token_id=min(renderer.stop_ids),
        )  # fmt: skip
        [got] = GroupPolicy(single).sample([Request((prompt,), 0)], GREEDY)
        assert got.ids == tuple(out[0, len(layout) :].tolist())


# 2: sampled


@pytest.mark.parametrize("sampling", [DRAWN, Sampling(temperature=0.6, top_p=0.8, max_tokens=12)])
def test_draws_equal_those_of_the_plain_engine(single, requests, sampling):
    with likely_stops(single, by=4.0):
        reference = LocalPolicy(single, batch_size=1).sample(requests, sampling)
        got = GroupPolicy(single).sample(requests, sampling)
    assert_same(got, reference)
    assert len({len(c.ids) for c in got}) > 2, "messages of one length would not leave at different times"


@pytest.mark.parametrize(("batch_size", "prefill_tokens"), [(1, 10_000), (2, 1), (5, 40), (100, 10_000)])
def test_the_batch_does_not_matter(model, requests, batch_size, prefill_tokens):
    with likely_stops(model):
        reference = LocalPolicy(model).sample(requests, DRAWN)
        policy = GroupPolicy(model, batch_size=batch_size, prefill_tokens=prefill_tokens)
        assert_same(policy.sample(requests, DRAWN), reference)
        assert_same(policy.sample(requests[::-1], DRAWN), reference[::-1])


def test_requests_may_come_and_go_at_any_step(model, requests, monkeypatch):
    monkeypatch.setattr(group_module, "PREFILL_BATCHING_THRESHOLD", 100)
    order = np.random.default_rng(0).permutation(len(requests)).tolist()
    done, tickets = {}, {}
    with likely_stops(model):
        reference = LocalPolicy(model).sample(requests, DRAWN)
        with GroupPolicy(model, batch_size=7).session(DRAWN) as engine:
            while len(done) < len(requests):
                if order:
                    which = order.pop()
                    tickets[engine.submit(requests[which])] = which
                for ticket, completion in engine.step():
                    done[tickets[ticket]] = completion
                    if ticket % 2:
                        engine.release(ticket)
    assert_same([done[i] for i in range(len(requests))], reference)


def test_tokens_are_streamed_as_they_are_drawn(model, requests):
    seen = {i: [] for i in range(len(requests))}
    done = GroupPolicy(model, batch_size=5).sample(requests, DRAWN, lambda i, token: seen[i].append(token))
    assert [tuple(seen[i]) for i in seen] == [c.ids for c in done]


def test_bfloat16_stays_close(single, requests):
    sampling = Sampling(temperature=0.0, max_tokens=1)
    exact = GroupPolicy(single).sample(requests, sampling)
    rounded = GroupPolicy(single, precision="bf16")
    first = rounded.sample(requests, sampling)
    assert [c.logprobs[0] for c in first] == pytest.approx([c.logprobs[0] for c in exact], abs=0.05)
    long = rounded.sample(requests, DRAWN)
    reference = LocalPolicy(single, precision="bf16").sample(requests, DRAWN)
    same = [
        a.logprobs[0] - b.logprobs[0] for a, b in zip(long, reference, strict=True) if a.ids[0] == b.ids[0]
    ]
    assert same == pytest.approx([0.0] * len(same), abs=0.05)


@pytest.mark.parametrize("batch_size", [3, 100])
def test_the_same_calls_give_the_same_bits(single, requests, picture, batch_size):
    policy, seen = GroupPolicy(single, batch_size=batch_size), []
    for version in range(2):
        policy.weight_version = version
        with likely_stops(single):
            first = policy.sample(requests, DRAWN)
            later = [
                followed(r, c, single.renderer, picture(30, 30)) for r, c in zip(requests, first, strict=True)
            ]
            seen.append([(c.ids, c.logprobs) for c in first + policy.sample(later, DRAWN)])
    assert seen[0] == seen[1]


# 3: later turns


def test_later_turns_draw_what_a_fresh_start_draws(model, requests, picture):
    policy, plain = GroupPolicy(model, batch_size=5), LocalPolicy(model)
    with likely_stops(model, by=4.0):
        for turn in range(3):
            got = policy.sample(requests, DRAWN)
            assert_same(got, plain.sample(requests, DRAWN))
            pictures = [picture(20 + i, 30, turn) for i in range(len(requests))]
            requests = [
                followed(r, c, model.renderer, p) for r, c, p in zip(requests, got, pictures, strict=True)
            ]


def test_a_second_turn_reads_only_what_is_new(model, requests, picture):
    policy = GroupPolicy(model)
    first = policy.sample(requests, DRAWN)
    second = [followed(r, c, model.renderer, picture(30, 30)) for r, c in zip(requests, first, strict=True)]
    with tokens_read(model) as read:
        policy.sample(second, Sampling(max_tokens=1))
    n_all = sum(len(model.renderer.layout(r.segments)) for r in second)
    n_known = sum(len(model.renderer.layout(r.segments)) for r in requests)
    # The last token of a message was drawn, but not read yet.
    assert read == [n_all - n_known - sum(len(c.ids) - 1 for c in first)]


def test_two_may_go_on_from_the_same_message(model, requests, picture):
    """One takes over what is in memory, the other reads its tail anew."""
    policy, plain = GroupPolicy(model), LocalPolicy(model)
    [first] = policy.sample(requests[:1], DRAWN)
    fork = [followed(requests[0], first, model.renderer, picture(30, 30, s)) for s in range(2)]
    assert_same(policy.sample(fork, DRAWN), plain.sample(fork, DRAWN))


def test_another_picture_of_the_same_size_is_another_conversation(model, requests, picture):
    policy, plain = GroupPolicy(model), LocalPolicy(model)
    [first] = policy.sample(requests[:1], GREEDY)
    for seed in range(2):
        second = followed(requests[0], first, model.renderer, picture(30, 30, seed))
        [said] = policy.sample([second], GREEDY)
        third = followed(second, said, model.renderer)
        other = second.segments[-1]
        swapped = Segment(other.ids, (picture(30, 30, 9),))
        third_of_another = Request((*second.segments[:-1], swapped, *third.segments[-2:]), seed=3)
        assert_same(policy.sample([third_of_another], GREEDY), plain.sample([third_of_another], GREEDY))


# 4: prompts


def test_a_group_reads_its_prompt_once(model, prompts):
    n = len(model.renderer.layout([prompts[0]]))
    group = [Request((prompts[0],), seed) for seed in range(8)]
    with tokens_read(model) as read:
        GroupPolicy(model).sample(group, Sampling(max_tokens=3))
    assert read[0] == n
    assert sum(read) <= n + 8 * 2


def test_attempts_that_come_later_share_the_prompt_too(model, prompts):
    n = len(model.renderer.layout([prompts[0]]))
    policy, sampling = GroupPolicy(model, batch_size=3), Sampling(max_tokens=3)
    with tokens_read(model) as read:
        policy.sample([Request((prompts[0],), seed) for seed in range(8)], sampling)
        policy.sample([Request((prompts[0],), seed) for seed in range(8, 16)], sampling)
    assert read[0] == n
    assert sum(read) <= n + 16 * 2


def test_prompts_share_one_pass(model, prompts):
    with tokens_read(model) as read:
        GroupPolicy(model).sample([Request((p,), 0) for p in prompts], Sampling(max_tokens=1))
    assert read == [sum(len(model.renderer.layout([p])) for p in prompts)]


def test_a_prompt_that_was_read_needs_no_pass(single, prompts):
    policy, sampling = GroupPolicy(single), Sampling(max_tokens=1)
    policy.sample([Request((prompts[0],), 1)], sampling)
    again = [Request((prompts[0],), seed) for seed in range(3)]
    with tokens_read(single) as read:
        got = policy.sample(again, sampling)
    assert read == []
    assert_same(got, LocalPolicy(single).sample(again, sampling))


# 5: forgetting


def test_new_weights_forget_the_old_ones_keys(folder, prompts, picture):
    model = VisionLanguageModel.load(folder).eval()
    policy = GroupPolicy(model)
    request = Request((prompts[3],), seed=1)  # words alone: the frozen tower's features are not the point
    [first] = policy.sample([request], DRAWN)
    with torch.no_grad():
        for parameter in model.decoder.layers.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    policy.weight_version = 5
    for later in (request, followed(request, first, model.renderer)):
        got = policy.sample([later], DRAWN)
        assert_same(got, LocalPolicy(model).sample([later], DRAWN))
        assert got[0].weight_version == 5


def test_an_abandoned_session_leaves_nothing_behind(model, requests):
    policy = GroupPolicy(model)

    def interrupted(index, token):
        if index == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        policy.sample(requests, DRAWN, interrupted)
    assert_same(policy.sample(requests, DRAWN), LocalPolicy(model).sample(requests, DRAWN))


def test_memory_is_bounded(model, prompts, picture):
    policy = GroupPolicy(model, batch_size=2)
    for seed in range(20):
        text = model.renderer.prompt(Task("t", f"Question {seed}?", (), ()), ())
        policy.sample([Request((text,), seed)], Sampling(max_tokens=2))
    memory = policy._memory
    assert len(memory.tails) == 4
    assert len(memory.prompts) <= 4 + 9


def test_a_released_conversation_is_forgotten(model, requests):
    policy = GroupPolicy(model)
    n = 0
    with policy.session(DRAWN) as engine:
        for request in requests:
            engine.submit(request)
        while n < len(requests):
            for ticket, _ in engine.step():
                engine.release(ticket)
                n += 1
    assert len(policy._memory.tails) == 0


def test_a_conversation_at_rest_longest_is_forgotten_and_read_anew(model, prompts):
    policy, plain = GroupPolicy(model, batch_size=1), LocalPolicy(model)
    requests = [Request((prompts[3],), seed) for seed in range(3)]  # two are remembered
    first = policy.sample(requests, DRAWN)
    later = [followed(r, c, model.renderer) for r, c in zip(requests, first, strict=True)]
    one = Sampling(max_tokens=1)
    n_prompt, n = (len(model.renderer.layout(r.segments)) for r in (requests[0], later[0]))
    for index, whole in ((2, False), (0, True)):
        with tokens_read(model) as read:
            got = policy.sample([later[index]], one)
        assert_same(got, plain.sample([later[index]], one))
        assert (sum(read) == n - n_prompt) is whole


def test_one_session_at_a_time(model, requests):
    policy = GroupPolicy(model)
    with policy.session(DRAWN), pytest.raises(AssertionError, match="one session"):
        policy.sample(requests, DRAWN)
    with policy.session(DRAWN), pytest.raises(AssertionError, match="in use"):
        policy.weight_version = 1
    with pytest.raises(AssertionError, match="nobody"):
        GroupPolicy(model, batch_size=0)


def test_draws_that_cannot_be_are_refused():
    for wrong in ({"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(ValidationError):
            Sampling(**wrong)


def test_the_mode_of_the_model_is_left_as_it_was(single, requests):
    single.train()
    GroupPolicy(single).sample(requests[:1], Sampling(max_tokens=1))
    assert single.training
    assert single.decoder.config._attn_implementation != "pixelreasoner_cascade"
    single.eval()


# In the loop


class Eager:
    """A renderer to whose eyes about two thirds of all messages ask for a crop, whatever they say."""

    def __init__(self, renderer):
        self._renderer = renderer

    def __getattr__(self, name):
        return getattr(self._renderer, name)

    def parse(self, text):
        fate = zlib.crc32(text.encode()) % 6
        if fate < 2:
            return Parsed(text, answer=text)
        whole = 1000 if self.unit is Unit.RELATIVE else 40  # the pictures are 48x40
        box = [0, 0, whole, whole * fate // 6]
        return Parsed(text, call=ToolCall("crop_image", {"bbox_2d": box, "target_image": 1}))


@pytest.mark.parametrize("batch_size", [3, 100])
def test_rollouts_equal_those_of_the_plain_engine(model, picture, batch_size):
    renderer = Eager(model.renderer)
    tasks = [Task(str(i), f"What is it? {i}", (picture(48, 40, i),), ()) for i in range(3)]
    attempts = [RolloutRequest(task, seed=10 * i + k) for i, task in enumerate(tasks) for k in range(4)]

    def play(policy):
        return rollout(
            attempts,
            policy=policy,
            renderer=renderer,
            toolbox=toolbox_for(model.renderer),
            sampling=Sampling(max_tokens=30),
            limits=Limits(max_operations=3),
        )

    with likely_stops(model):
        expected, got = play(LocalPolicy(model)), play(GroupPolicy(model, batch_size=batch_size))
    assert max(t.n_operations for t in got) >= 2
    for a, b in zip(got, expected, strict=True):
        assert (a.stop, a.answer, a.n_operations) == (b.stop, b.answer, b.n_operations)
        assert [s.ids for s in a.segments] == [s.ids for s in b.segments]
        for s, t in zip(a.segments, b.segments, strict=True):
            assert s.logprobs == pytest.approx(t.logprobs, abs=1e-5)
