"""Structures: how they are asked for, and how replies of all manners are read."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from pixelreasoner.endpoint.failures import UnusableReplyError
from pixelreasoner.endpoint.structure import read_structure, response_format, strict_schema, with_words


class Option(BaseModel):
    letter: Literal["A", "B"]
    text: Annotated[str, Field(min_length=1, max_length=50)] = "x"


class Proposal(BaseModel):
    """A region and its question."""

    title: str
    box: tuple[float, float, float, float]
    options: list[Option] = []
    note: str | None = None


GOOD = '{"title": "a {b} \\"c\\"", "box": [1, 2, 3, 4]}'
READ = Proposal(title='a {b} "c"', box=(1, 2, 3, 4))


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"  {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```\nI hope that helps.",
        f"Here is the object for the set {{x}}: {GOOD} As asked.",
        f"<think>{{}} maybe {GOOD.replace('1', '9')}</think>\n{GOOD}",
        f"{GOOD}\n\nOnce more: {GOOD}",
        f'For example {{"title": "no box"}}. The reply:\n```json\n{GOOD}\n```',
        f'{{"other": 1}} {GOOD}',
    ],
)
def test_one_structure_is_read_with_words_around_it(text: str):
    assert read_structure(text, Proposal) == READ


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("", "not_json", "an empty reply"),
        ("I would rather not.", "not_json", "rather not"),
        (GOOD[:-1], "not_json", "no JSON object"),
        ('{"wrapped": ' + GOOD, "not_json", "no JSON object"),
        (f"{GOOD} or {GOOD.replace('1', '9')}", "not_json", "2 JSON objects that differ"),
        ("[1, 2]", "not_json", "no JSON object"),
        ('{"title": "t"}', "invalid", "'box' is required"),
        ('{"title": "t", "box": [1, 2, 3]}', "invalid", "box"),
        ('{"title": "t", "box": [1, 2, 3, 4], "options": [{"letter": "C"}]}', "invalid", "letter"),
        ('{"a":' * 100_000, "not_json", "no JSON object"),
        ("{" * 100_000, "not_json", "no JSON object"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, reason: str, detail: str):
    with pytest.raises(UnusableReplyError) as caught:
        read_structure(text, Proposal)
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert "\n" not in caught.value.detail


def objects(node: Any) -> list[dict[str, Any]]:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    found = [o for item in inner for o in objects(item)]
    return [*found, node] if isinstance(node, dict) and node.get("type") == "object" else found


def test_a_strict_schema_has_each_field_required_no_other_and_no_word_that_servers_refuse():
    schema = strict_schema(Proposal)
    assert len(objects(schema)) == 2
    for found in objects(schema):
        assert found["additionalProperties"] is False
        assert found["required"] == list(found["properties"])
    # A field that is called as a word of the schema stays.
    assert schema["properties"]["title"] == {"type": "string"}
    assert schema["properties"]["box"] == {
        "type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4,
    }  # fmt: skip
    assert schema["properties"]["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    option = schema["$defs"]["Option"]["properties"]
    assert option == {"letter": {"type": "string", "enum": ["A", "B"]}, "text": {"type": "string"}}
    assert schema["description"] == "A region and its question."


def test_how_a_structure_is_asked_for():
    strict = response_format(Proposal, "strict")
    assert strict is not None
    assert strict["type"] == "json_schema"
    assert strict["json_schema"]["strict"] is True
    assert response_format(Proposal, "object") == {"type": "json_object"}
    assert response_format(Proposal, "none") is None


def test_the_schema_in_words_is_at_the_end_of_the_last_message_of_the_user():
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "reply"},
        {"role": "user", "content": [picture]},
    ]
    first, reply, last = with_words(messages, Proposal)
    assert (first, reply) == (messages[0], messages[1])
    assert last["content"][0] == picture
    assert '"box"' in last["content"][1]["text"]
    assert "JSON" in last["content"][1]["text"]
    assert messages[2]["content"] == [picture]
    (alone,) = with_words([{"role": "user", "content": "Look."}], Proposal)
    assert alone["content"].startswith("Look.\n\n")


@pytest.mark.parametrize(
    "text", ["{ " * 400_000, "{}" * 400_000, '{"a":' * 150_000, "{" * 900_000, "{\n" * 400_000]
)
def test_a_reply_of_braces_is_given_up_soon(text: str):
    began = time.perf_counter()
    with pytest.raises(UnusableReplyError):
        read_structure(text, Proposal)
    assert time.perf_counter() - began < 2  # minutes, where every brace is tried
