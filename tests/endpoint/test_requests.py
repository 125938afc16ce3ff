"""By what a request is known, and how it is sent."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, Field

from pixelreasoner.core.media import Picture
from pixelreasoner.endpoint.requests import ChatRequest, encode_body, picture_part, text_part
from pixelreasoner.endpoint.transport import body_of


class Inner(BaseModel):
    n: int


class Wanted(BaseModel):
    title: str
    inner: list[Inner] = []


PICTURE = Picture(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
MESSAGES = (
    {"role": "system", "content": "You look."},
    {"role": "user", "content": [text_part("Zürich?"), picture_part(PICTURE)]},
)
REQUEST = ChatRequest("write", MESSAGES, seed=3, schema=Wanted)
CANONICAL = (
    '{"extra":{},"max_tokens":2048,"messages":[{"content":"You look.","role":"system"},'
    '{"content":[{"text":"Z\\u00fcrich?","type":"text"},{"image_url":{"url":"picture:DIGEST:4x4"},'
    '"type":"image_url"}],"role":"user"}],"model":"m","schema":{"fields":{"inner":[{"fields":{"n":[]},'
    '"name":"Inner"}],"title":[]},"name":"Wanted"},"seed":3,"temperature":0.0}'
)
"""What the key of `REQUEST` is taken of; with another form, every cached reply would be paid for again."""


def test_the_key_is_the_same_in_every_release():
    text = CANONICAL.replace("DIGEST", PICTURE.digest)
    assert REQUEST.key("m") == hashlib.sha256(text.encode()).hexdigest()


def test_the_key_is_the_same_in_every_process():
    code = "from tests.endpoint.test_requests import REQUEST; print(REQUEST.key('m'), end='')"
    root = Path(__file__).parents[2]
    env = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == REQUEST.key("m")


def renamed(**fields: Any) -> type[BaseModel]:
    return type("Wanted", (BaseModel,), {"__annotations__": fields})


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, messages=MESSAGES[1:]),
        replace(REQUEST, messages=(MESSAGES[0], {"role": "user", "content": [text_part("Zürich?")]})),
        replace(REQUEST, temperature=1.0),
        replace(REQUEST, max_tokens=1),
        replace(REQUEST, seed=4),
        replace(REQUEST, schema=None),
        replace(REQUEST, schema=Inner),
        replace(REQUEST, schema=renamed(title=str, inner=list[int])),
    ],
)
def test_all_that_a_reply_depends_on_is_in_the_key(other: ChatRequest):
    assert other.key("m") != REQUEST.key("m")


def test_the_model_and_further_fields_are_in_the_key_and_the_purpose_is_not():
    assert REQUEST.key("n") != REQUEST.key("m")
    assert REQUEST.key("m", {"top_k": 1}) != REQUEST.key("m")
    assert REQUEST.key("m", {}) == REQUEST.key("m")
    assert replace(REQUEST, purpose="judge").key("m") == REQUEST.key("m")


def test_bounds_of_a_structure_are_not_in_the_key():
    class Bounded(BaseModel):
        title: str = Field(max_length=3)
        inner: list[Inner] = Field(default=[], max_length=2)

    Bounded.__name__ = "Wanted"
    assert replace(REQUEST, schema=Bounded).key("m") == REQUEST.key("m")


class Tree(BaseModel):
    below: list[Tree] = []


def test_a_structure_may_hold_itself():
    assert replace(REQUEST, schema=Tree).key("m") != REQUEST.key("m")


def test_what_is_sent_is_plain_json():
    url = MESSAGES[1]["content"][1]["image_url"]["url"]  # type: ignore[index]
    plain = bytes(url.content()).decode()
    sent = json.loads(encode_body({"messages": list(MESSAGES), "again": url, "text": '"\\ é \ud800'}))
    assert sent["messages"][0] == MESSAGES[0]
    assert sent["messages"][1]["content"] == [
        {"type": "text", "text": "Zürich?"},
        {"type": "image_url", "image_url": {"url": plain}},
    ]
    assert sent["again"] == plain
    assert sent["text"] == '"\\ é \ud800'


@pytest.mark.parametrize(("mode", "wanted"), [("strict", "json_schema"), ("object", "json_object")])
def test_the_body_of_a_request(mode: Any, wanted: str):
    sent = json.loads(body_of(REQUEST, "m", mode, {"top_k": 1, "temperature": 1}))
    assert sent["response_format"]["type"] == wanted
    assert (sent["model"], sent["max_completion_tokens"], sent["seed"]) == ("m", 2048, 3)
    assert (sent["top_k"], sent["temperature"]) == (1, 1)
    in_words = any("JSON schema" in part.get("text", "") for part in sent["messages"][1]["content"])
    assert in_words == (mode == "object")


def test_the_body_of_a_request_for_words_has_no_format_and_a_seed_that_all_servers_take():
    sent = json.loads(body_of(replace(REQUEST, schema=None, seed=2**40 + 5), "m", "strict", {}))
    assert "response_format" not in sent
    assert sent["seed"] == 5
