"""What a reply says, in the forms that servers give it."""

from __future__ import annotations

from typing import Any

import pytest

from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.chat.xml_calls import XML_CALLS
from pixelreasoner.endpoint.reply import read_reply
from pixelreasoner.evals.endpoint.messages import parse, said, text_of

TOOLS = [{"type": "function", "function": {"name": "crop_image", "parameters": {"properties": {}}}}]


def reply(**message: Any):
    return read_reply({"choices": [{"message": {"role": "assistant", **message}}]})


def call(arguments: Any) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": "crop_image", "arguments": arguments}}


@pytest.mark.parametrize("arguments", ['{"target_image": 1}', {"target_image": 1}])
def test_arguments_as_a_text_or_as_an_object(arguments: Any):
    parsed = parse(reply(content="Closer.", tool_calls=[call(arguments)]), TOOLS)
    assert parsed.call is not None
    assert (parsed.call.name, parsed.call.arguments) == ("crop_image", {"target_image": 1})
    assert parsed.text == "Closer."


@pytest.mark.parametrize("arguments", ["", "{}", None])
def test_no_arguments_are_none(arguments: Any):
    parsed = parse(reply(content="", tool_calls=[call(arguments)]), TOOLS)
    assert parsed.call is not None
    assert parsed.call.arguments == {}


@pytest.mark.parametrize("arguments", ["[1]", "{", '{"a": NaN}', '{"a": 1} x', '{"a": 1}}, "b": {"c": 2}'])
def test_arguments_that_cannot_be_read_are_the_models_mistake(arguments: str):
    broken = reply(content="", tool_calls=[call(arguments)])
    parsed = parse(broken, TOOLS)
    assert parsed.call is None
    assert parsed.call_error
    assert arguments in text_of(broken, HERMES)


def test_a_native_call_goes_over_an_answer_and_is_written_in_the_familys_syntax():
    both = reply(content="It is \\boxed{K}.", tool_calls=[call('{"target_image": 1}'), call("{}")])
    parsed = parse(both, TOOLS)
    assert parsed.call is not None
    assert (parsed.answer, parsed.n_further_calls) == (None, 1)
    assert XML_CALLS.parse(text_of(both, XML_CALLS)).call == parsed.call
    assert HERMES.parse(text_of(both, HERMES)).call == parsed.call
    assert text_of(both, HERMES).startswith("It is \\boxed{K}.\n<tool_call>")


def test_a_number_in_a_call_of_tags_keeps_its_type():
    written = "<tool_call><function=f><parameter=n>3</parameter></function></tool_call>"
    parsed = parse(reply(content=written), TOOLS)
    assert parsed.call is not None
    assert parsed.call.arguments == {"n": 3}


def test_thoughts_hold_no_call_and_the_content_goes_first():
    thinking = reply(content="\\boxed{A}", reasoning="<tool_call>{}</tool_call> \\boxed{B}")
    assert parse(thinking, TOOLS).answer == "A"
    assert parse(thinking, TOOLS).call_error is None
    assert parse(reply(content="Done.", reasoning="\\boxed{B}"), TOOLS).answer == "B"
    assert said(thinking)["reasoning"].endswith("\\boxed{B}")
    assert "reasoning" not in said(reply(content="A", reasoning=None))
