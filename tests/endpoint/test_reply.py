"""What a server answered, in the forms that servers give it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pixelreasoner.endpoint.reply import BrokenReplyError, read_body, read_reply


def reply(**message: Any):
    return read_reply({"choices": [{"message": {"role": "assistant", **message}}]})


def test_content_as_a_text_or_as_parts_or_none():
    parts = [{"type": "text", "text": text} for text in ("It ", "is K.")]
    assert reply(content=parts).content == reply(content="It is K.").content == "It is K."
    assert reply(content=None).content == ""


def test_a_refusal_is_beside_the_content():
    assert reply(content=None, refusal="I cannot help with that.").refusal == "I cannot help with that."
    assert reply(content="a", refusal=None).refusal == ""


@pytest.mark.parametrize(
    "body",
    [None, [], "text", {}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": None}]},
     {"choices": [{"message": {"content": 3}}]}, {"choices": [{"message": {"tool_calls": [{}]}}]},
     {"error": {"message": "overloaded"}}],
)  # fmt: skip
def test_what_is_no_reply_is_refused(body: Any):
    with pytest.raises(BrokenReplyError, match="no chat completion"):
        read_reply(body)


@pytest.mark.parametrize(
    "content", [b"", b"<html>busy</html>", b'{"choices": [{"mess', b"\xff\xfe", b"[" * 100_000]
)
def test_bytes_that_are_no_json_are_refused(content: bytes):
    with pytest.raises(BrokenReplyError, match="not JSON"):
        read_body(content)


def test_usage_may_be_missing_in_part_or_nonsense():
    usage = {"prompt_tokens": 5, "completion_tokens": None}
    counted = read_reply({"choices": [{"message": {"content": "a"}}], "usage": usage})
    assert (counted.prompt_tokens, counted.completion_tokens) == (5, 0)
    body = {"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": -5}}
    assert read_body(json.dumps(body).encode()).prompt_tokens == 0


@pytest.mark.parametrize("tokens", [float("inf"), float("nan"), 10**30, -5, "many", [], {}])
def test_a_reply_is_not_asked_for_again_for_what_is_said_of_its_tokens(tokens: Any):
    usage = {"prompt_tokens": tokens, "completion_tokens": 7}
    found = read_reply({"choices": [{"message": {"content": "a"}}], "usage": usage})
    assert (found.content, found.prompt_tokens, found.completion_tokens) == ("a", 0, 7)
    assert read_reply({"choices": [{"message": {"content": "a"}}], "usage": tokens}).prompt_tokens == 0


def test_an_error_with_status_200_is_named():
    with pytest.raises(BrokenReplyError, match=r"but an error: .*overloaded"):
        read_reply({"error": {"message": "overloaded\n", "code": 503}})


def test_halves_of_characters_are_replaced_at_once_as_the_cache_would():
    assert reply(content="a\ud800b", refusal="\udfff").content == "a?b"
    assert reply(content=None, refusal="\udfff").refusal == "?"
