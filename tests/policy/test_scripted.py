"""The scripted policy replays its script, token by token."""

from __future__ import annotations

import pytest

from pixelreasoner.chat.plain import STOP, PlainRenderer
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.trajectory import Segment
from pixelreasoner.policy.base import CompletionRequest, Sampling, complete
from pixelreasoner.policy.scripted import ScriptedPolicy, per_conversation, per_prompt

RENDERER = PlainRenderer()
SAMPLING = Sampling(max_tokens=10)


def ask(*texts: str) -> CompletionRequest:
    return CompletionRequest(tuple(Segment(tuple(text.encode())) for text in texts), 0, SAMPLING)


def test_message_k_is_that_of_turn_k():
    policy = ScriptedPolicy(["one", "two"], RENDERER, weight_version=7)
    first, second = complete(policy, [ask("p"), ask("p", "one", "seen")])
    assert first.ids == (*b"one", STOP)
    assert second.ids == (*b"two", STOP)
    assert first.logprobs == (0.0,) * 4
    assert (first.finish, first.weight_version) == ("stop", 7)


def test_raw_ids_are_used_as_they_are():
    (completion,) = complete(ScriptedPolicy([(255, 3)], RENDERER), [ask("p")])
    assert (completion.ids, completion.finish) == ((255, 3), "length")


def test_long_messages_are_cut():
    (completion,) = complete(ScriptedPolicy(["x" * 10], RENDERER), [ask("p")])
    assert (completion.ids, completion.finish) == ((120,) * 10, "length")


def test_a_script_can_be_a_function():
    policy = ScriptedPolicy(lambda request, turn: f"{turn} {request.seed}", RENDERER)
    assert RENDERER.decode(complete(policy, [ask("p")])[0].ids) == "0 0"


def test_per_prompt_finds_the_task():
    script = per_prompt({"colour": ["red"], "count": ["3"]}, RENDERER)
    said = complete(ScriptedPolicy(script, RENDERER), [ask("count?"), ask("colour?")])
    assert [RENDERER.decode(c.ids) for c in said] == ["3", "red"]
    with pytest.raises(ConfigError, match="no key"):
        complete(ScriptedPolicy(script, RENDERER), [ask("where?")])


def test_per_conversation_follows_each_through_a_shrinking_batch():
    script = per_conversation([["a"], ["b", "b2"], ["b", "c2"]], RENDERER)
    policy = ScriptedPolicy(script, RENDERER)
    complete(policy, [ask("p")] * 3)

    def later(message: str) -> CompletionRequest:
        said = Segment(RENDERER.encode(message))
        return CompletionRequest((Segment(tuple(b"p")), said, Segment(tuple(b"seen"))), 0, SAMPLING)

    said = complete(policy, [later("b"), later("b")])
    assert [RENDERER.decode(c.ids) for c in said] == ["b2", "c2"]


def test_tokens_are_streamed():
    streamed: list[tuple[int, int]] = []
    complete(ScriptedPolicy(["ab"], RENDERER), [ask("p")], lambda i, t: streamed.append((i, t)))
    assert streamed == [(0, 97), (0, 98), (0, STOP)]


def test_a_script_that_is_too_short_says_so():
    with pytest.raises(ConfigError, match="message 2"):
        complete(ScriptedPolicy(["a"], RENDERER), [ask("p", "a", "seen")])
