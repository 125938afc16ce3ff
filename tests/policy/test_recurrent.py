"""Sampling from a decoder with recurrent layers: each message as if its conversation were read alone."""

from __future__ import annotations

import pytest
import torch

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.policy.group import GroupPolicy
from pixelreasoner.policy.recurrent import SPARE_PROMPTS, RecurrentEngine
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


@pytest.fixture
def folder(qwen35_folder):
    return qwen35_folder


@pytest.fixture
def alone(single):
    """Each request by itself, every token of it read anew for every new token, without any cache."""

    @torch.no_grad()
    def complete(requests):
        from pixelreasoner.core.trajectory import Segment
        from pixelreasoner.policy.messages import Message, TokenSampler

        out = []
        for i, request in enumerate(requests):
            message, sampler, end = Message.of(i, request), TokenSampler(single, None), None
            while end is None:
                row = single.renderer.layout((*request.segments, Segment(tuple(message.ids))))
                batch = single.embed([row], single.encode(row.blocks), left=False)
                (end,) = sampler([message], single(batch)[:, -1])
            out.append(message.completion(end))
        return out

    return complete


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_as_every_request_alone(single, requests, alone, sampling):
    requests = as_sampled(requests, sampling)
    with likely_stops(single):
        assert_same(sample(GroupPolicy(single, batch_size=5), requests), alone(requests))


def test_the_engine_is_chosen_by_the_model(single):
    with GroupPolicy(single).session() as engine:
        assert isinstance(engine, RecurrentEngine)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.05)])
def test_the_trainer_gives_the_same_odds(single, requests, precision, tolerance):
    """What was sampled, scored in a row of its own."""
    import numpy as np

    from pixelreasoner.core.task import Task
    from pixelreasoner.core.trajectory import Segment, StopReason, Trajectory, Turn
    from pixelreasoner.models.logprobs import score_row
    from pixelreasoner.models.precision import autocast
    from pixelreasoner.objectives.packing import pack_rows
    from pixelreasoner.objectives.scored_group import imitation

    requests = requests[:4]
    done = sample(GroupPolicy(single, precision=precision), requests, SAMPLED)
    trajectories = [
        Trajectory(
            Task("t", "", (), ()),
            (Turn("", sampled=Segment(c.ids)),),
            StopReason.ANSWER,
            prompt=r.segments[0],
        )
        for r, c in zip(requests, done, strict=True)
    ]
    forbidden = single.renderer.forbidden_ids
    for trajectory, completion in zip(trajectories, done, strict=True):
        (row,) = pack_rows(
            [imitation(trajectory)], lambda y: single.renderer.layout(y.segments), max_tokens=9999,
            token_weights=lambda counts: [1.0] * len(counts), behavior=False,
        )  # fmt: skip
        with torch.no_grad(), autocast(precision, single.device):
            scores = score_row(single, row, single.encode(row.layout.blocks), forbidden_ids=forbidden)
        np.testing.assert_allclose(scores.logp_N, completion.logprobs, atol=tolerance, rtol=0)


class TestTurns:
    def test_only_what_is_new_is_read(self, single, prompts, picture, alone):
        first = of_prompts(prompts[:1], 2)
        with GroupPolicy(single).session() as engine:
            done = finish(engine, first)
            second = [
                followed(r, c, single.renderer, picture(24, 16, i))
                for i, (r, c) in enumerate(zip(first, done, strict=True))
            ]
            with tokens_read(single) as read:
                got = finish(engine, second)
        assert_same(got, alone(second))
        # The last token of each message was sampled, and not read.
        new = expanded(single, *second) - expanded(single, *first) - sum(len(c.ids) - 1 for c in done)
        assert sum(read) == new + sum(len(c.ids) - 1 for c in got)

    def test_a_prompt_is_read_once_for_its_group(self, single, prompts):
        group = of_prompts(prompts[:1], 4)
        with tokens_read(single) as read:
            done = sample(GroupPolicy(single, batch_size=2), group)
        assert sum(read) == expanded(single, group[0]) + sum(len(c.ids) - 1 for c in done)

    def test_another_picture_is_another_conversation(self, single, prompts, picture, alone):
        (request,) = of_prompts(prompts[:1], 1)
        with GroupPolicy(single).session() as engine:
            (done,) = finish(engine, [request])
            other = request.segments[0].__class__(request.segments[0].ids, (picture(40, 30, 9),))
            second = followed(request, done, single.renderer, picture(24, 16))
            changed = type(second)((other, *second.segments[1:]), second.seed, second.sampling)
            got = finish(engine, [changed])
        assert_same(got, alone([changed]))


def test_released_requests_leave_nothing(single, requests):
    with GroupPolicy(single).session() as engine:
        ids = [engine.submit(request) for request in requests]
        engine.step()
        for request_id in ids:
            engine.release(request_id)
        assert engine.step() == []
        assert not engine._running
        assert not engine._kept


def test_one_that_is_released_does_not_change_the_others(single, requests, alone):
    with GroupPolicy(single).session() as engine:
        ids = [engine.submit(request) for request in requests[:3]]
        engine.step()
        engine.release(ids[0])
        done = {}
        while len(done) < 2:
            done.update(engine.step())
    assert_same([done[i] for i in ids[1:]], alone(requests[1:3]))


def test_new_weights_in_an_open_session(single, requests):
    """Messages go on with the new weights, and carry the version that sampled their first token."""
    policy = GroupPolicy(single)
    with policy.session() as engine:
        ids = [engine.submit(request) for request in requests[:2]]
        engine.step()
        policy.load_weights(single.hf.state_dict().items(), version=3)
        later = engine.submit(requests[2])
        done = {}
        while len(done) < 3:
            done.update(engine.step())
    assert [done[i].weight_version for i in (*ids, later)] == [0, 0, 3]
    assert_same([done[i] for i in (*ids, later)], [
        type(c)(c.ids, c.logprobs, c.finish, v)
        for c, v in zip(sample(GroupPolicy(single), requests[:3]), (0, 0, 3), strict=True)
    ])  # fmt: skip


class TestMemory:
    def budgets(self, single, requests):
        """What the longest of the requests takes alone, its message included."""
        with GroupPolicy(single).session() as engine:
            finish(engine, requests)
            return max(kept.state.n_bytes for kept in engine._kept.values())

    def test_a_small_one_gives_the_same(self, single, requests):
        n_bytes = self.budgets(single, requests)
        expected = sample(GroupPolicy(single), requests)
        policy = GroupPolicy(single, kv_cache_bytes=2 * n_bytes)
        peak = []
        with policy.session() as engine:
            index = {engine.submit(request): i for i, request in enumerate(requests)}
            done = {}
            while len(done) < len(requests):
                done.update({index[i]: c for i, c in engine.step()})
                peak.append(engine._batch.n_bytes)
        assert_same([done[i] for i in range(len(requests))], expected)
        # A step adds one token to each of its sequences before room is made again.
        assert max(peak) < 2.5 * n_bytes

    def test_too_small_for_one(self, single, requests):
        policy = GroupPolicy(single, kv_cache_bytes=self.budgets(single, requests) // 2)
        with pytest.raises(ConfigError, match="kv_cache_bytes"):
            sample(policy, requests)

    def test_few_prompts_are_kept(self, single, renderer):
        from pixelreasoner.core.task import Task
        from prompting import prompt_of

        prompts = [prompt_of(renderer, Task(str(i), f"{i}?", (), ()), ()) for i in range(SPARE_PROMPTS + 3)]
        with GroupPolicy(single).session() as engine:
            finish(engine, of_prompts(prompts, 1))
            assert len(engine._prompts) == SPARE_PROMPTS
