"""The scripted policy says what it is told, token by token."""

from __future__ import annotations

import pytest

from pixelreasoner.chat.plain import STOP, PlainRenderer
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.policy.base import Request, Sampling
from pixelreasoner.policy.scripted import ScriptedPolicy, per_conversation, per_prompt

RENDERER = PlainRenderer()
SAMPLING = Sampling(max_tokens=10)


def ask(*texts: str) -> Request:
    return Request(tuple(Segment(tuple(text.encode())) for text in texts), seed=0)


def test_message_k_is_said_in_turn_k():
    policy = ScriptedPolicy(["one", "two"], RENDERER, weight_version=7)
    first, second = policy.sample([ask("p"), ask("p", "one", "seen")], SAMPLING)
    assert first.ids == (*b"one", STOP)
    assert second.ids == (*b"two", STOP)
    assert first.logprobs == (0.0,) * 4
    assert (first.finish, first.weight_version) == ("stop", 7)


def test_raw_ids_are_said_as_they_are():
    (completion,) = ScriptedPolicy([(255, 3)], RENDERER).sample([ask("p")], SAMPLING)
    assert (completion.ids, completion.finish) == ((255, 3), "length")


def test_long_messages_are_cut():
    (completion,) = ScriptedPolicy(["x" * 10], RENDERER).sample([ask("p")], SAMPLING)
    assert (completion.ids, completion.finish) == ((120,) * 10, "length")


def test_a_script_can_be_a_function():
    policy = ScriptedPolicy(lambda request, turn: f"{turn} {request.seed}", RENDERER)
    assert RENDERER.decode(policy.sample([ask("p")], SAMPLING)[0].ids) == "0 0"


def test_per_prompt_finds_the_task():
    script = per_prompt({"colour": ["red"], "count": ["3"]}, RENDERER)
    said = ScriptedPolicy(script, RENDERER).sample([ask("count?"), ask("colour?")], SAMPLING)
    assert [RENDERER.decode(c.ids) for c in said] == ["3", "red"]
    with pytest.raises(ConfigError, match="no key"):
        ScriptedPolicy(script, RENDERER).sample([ask("where?")], SAMPLING)


def test_per_conversation_follows_each_through_a_shrinking_batch():
    script = per_conversation([["a"], ["b", "b2"], ["b", "c2"]], RENDERER)
    policy = ScriptedPolicy(script, RENDERER)
    policy.sample([ask("p")] * 3, SAMPLING)

    def later(message: str) -> Request:
        said = Segment(RENDERER.encode(message))
        return Request((Segment(tuple(b"p")), said, Segment(tuple(b"seen"))), seed=0)

    said = policy.sample([later("b"), later("b")], SAMPLING)
    assert [RENDERER.decode(c.ids) for c in said] == ["b2", "c2"]


def test_tokens_are_streamed():
    heard: list[tuple[int, int]] = []
    ScriptedPolicy(["ab"], RENDERER).sample([ask("p")], SAMPLING, lambda i, t: heard.append((i, t)))
    assert heard == [(0, 97), (0, 98), (0, STOP)]


def test_a_script_that_is_too_short_says_so():
    with pytest.raises(ConfigError, match="message 2"):
        ScriptedPolicy(["a"], RENDERER).sample([ask("p", "a", "seen")], SAMPLING)
