"""Reading and writing calls as tags within tags.

1. What `format_call` writes, `parse_message` reads back unchanged: also tags, and text that is JSON.
2. What the family writes is read: JSON where a value is JSON, else a string; by the tool's types where known.
3. No text raises; a broken call is explained in one sentence; the limits are those of every syntax.
"""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.chat.calls import MAX_DEPTH, MAX_DIGITS
from pixelreasoner.chat.xml_calls import XML_CALLS, format_call, parse_message
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.ops.operation import function_schema

ZOOM = """\
<tool_call>
<function=crop_image>
<parameter=bbox_2d>
[1, 2, 3, 4]
</parameter>
<parameter=target_image>
1
</parameter>
</function>
</tool_call>"""
CROP = ToolCall("crop_image", {"bbox_2d": [1, 2, 3, 4], "target_image": 1})

TAGS = (
    "</parameter>", "<parameter=a>", "</function>", "</tool_call>", "<tool_call>",
    "\n</parameter>\n</function>",
)  # fmt: skip
READS_AS_JSON = (
    "1", "null", "true", '"x"', "[1]", "{}", " 7 ", "NaN", "1e999", "9" * 40, "\n", "\n\n", "", '"',
)  # fmt: skip
text = st.text() | st.sampled_from(TAGS + READS_AS_JSON) | st.lists(st.sampled_from(TAGS)).map("".join)
number = st.integers(-(10**MAX_DIGITS) + 1, 10**MAX_DIGITS - 1) | st.floats(-1e14, 1e14)
argument = st.recursive(
    st.none() | st.booleans() | number | text, lambda inner: st.lists(inner, max_size=3), max_leaves=8
).filter(lambda value: json.dumps(value).count("[") < MAX_DEPTH - 2)
name = st.text(min_size=1).filter(str.strip) | st.sampled_from(TAGS)
calls = st.builds(ToolCall, name, st.dictionaries(text, argument, max_size=3))
prose = st.text().filter(lambda text: "<tool_call>" not in text)
fragments = st.lists(
    st.sampled_from([*TAGS, "<tool_call>", "<function=f>", "<function=", "<parameter=", "<parameter=x>",
                     "[", "{", "1e999", "NaN", '"\\ud800"', "\\boxed{", "9" * 5000, " ", "\n", "\x00", ">"])
    | st.text(st.characters(), max_size=5),
    max_size=12,
)  # fmt: skip


def as_json(call: ToolCall) -> str:
    """Tells 1 from True and from 1.0, which compare equal."""
    return json.dumps([call.name, dict(call.arguments)])


@given(prose, calls, prose)
def test_a_call_survives_the_round_trip(before, call, after):
    parsed = parse_message(before + format_call(call) + after)
    assert parsed.call_error is None
    assert as_json(parsed.call) == as_json(call)
    assert parsed.text == (before + after).strip()


@given(st.dictionaries(st.sampled_from("abc"), text))
def test_strings_survive_where_the_tool_says_that_they_are_strings(arguments):
    tool = function_schema("f", "", {key: {"type": "string"} for key in "abc"})
    call = ToolCall("f", arguments)
    assert parse_message(format_call(call), [tool]).call == call


@given(fragments)
def test_no_text_raises_and_at_most_one_thing_is_said(parts):
    parsed = parse_message("".join(parts))
    assert sum(x is not None for x in (parsed.call, parsed.call_error, parsed.answer)) <= 1
    if parsed.call is not None:
        assert as_json(parse_message(format_call(parsed.call)).call) == as_json(parsed.call)
        format_call(parsed.call).encode()


def test_the_form_of_the_family():
    assert format_call(CROP) == ZOOM
    assert parse_message(f"The sign is tiny.\n{ZOOM}") == parse_message(f"The sign is tiny.{ZOOM}")
    assert parse_message(ZOOM).call == CROP
    assert format_call(ToolCall("note", {"text": "a < b\nc"})).split("\n")[3:5] == ["a < b", "c"]


def test_lists_within_one_line_are_read_too():
    parameters = "<parameter=a>[1]</parameter><parameter=b>x</parameter>"
    line = f"<tool_call><function=f>{parameters}</function></tool_call>"
    assert parse_message(line).call == ToolCall("f", {"a": [1], "b": "x"})


@pytest.mark.parametrize(
    ("written", "kind", "value"),
    [
        ("2024", None, 2024),
        ("2024", "string", "2024"),
        ("007", "integer", "007"),  # no JSON; the operation says what it needs
        ("a word", "array", "a word"),
        ("99999999999999999999", "string", "99999999999999999999"),
        ("NaN", "string", "NaN"),
        ("True", "boolean", True),
        ("True", None, "True"),
        (" [1, 2] ", "array", [1, 2]),
        ("null", "string", "null"),
        ('"quoted"', "string", "quoted"),
        ('say "x"', "string", 'say "x"'),
    ],
)
def test_values_have_the_types_of_the_tool(written, kind, value):
    tool = function_schema("f", "", {"x": {} if kind is None else {"type": kind}})
    call = f"<tool_call>\n<function=f>\n<parameter=x>\n{written}\n</parameter>\n</function>\n</tool_call>"
    found = XML_CALLS.parse(call, [tool]).call.arguments["x"]
    assert (found, type(found)) == (value, type(value))


def call_with(value: str) -> str:
    return f"<tool_call><function=f><parameter=x>{value}</parameter></function></tool_call>"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<tool_call>", "not closed with </tool_call>"),
        ("<tool_call>  \n </tool_call>", "empty"),
        ('<tool_call>{"name": "f"}</tool_call>', "does not begin with <function=name>"),
        ("<tool_call><function=f", "not closed with >"),
        ("<tool_call><function=f\n>", "not closed with </function>"),
        ("<tool_call><function=></function></tool_call>", "no name"),
        ("<tool_call><function=f>", "not closed with </function>"),
        ("<tool_call><function=f></function>", "not closed with </tool_call>"),
        ("<tool_call><function=f><parameter=x>1</function></tool_call>", "not closed with </parameter>"),
        ("<tool_call><function=f><parameter=x\n1</parameter></function></tool_call>", "not closed with >"),
        ("<tool_call><function=f>1, 2</function></tool_call>", "outside of its parameters"),
        ("<tool_call><function=f></function><function=g></function></tool_call>", "more than one function"),
        (call_with("1</parameter><parameter=x>2"), "one key twice"),
        (call_with("NaN"), "NaN"),
        (call_with("-Infinity"), "-Infinity"),
        (call_with("1e400"), "too large"),
        (call_with("9" * 5000), "too large"),
        (call_with('{"a": 1, "a": 2}'), "one key twice"),
        (call_with('"\\ud800"'), "Unicode"),
        (call_with("\udc00"), "Unicode"),
        (call_with("[" * 20 + "]" * 20), "nested too deeply"),
        (call_with("[" * 200_000 + "]" * 200_000), "nested too deeply"),
    ],
)
def test_a_broken_call_is_explained(text, says):
    parsed = parse_message(text)
    assert (parsed.call, parsed.answer) == (None, None)
    assert says in parsed.call_error


def test_a_call_wins_over_an_answer_and_the_first_one_counts():
    parsed = parse_message(rf"Let me look. {ZOOM} \boxed{{A}} {ZOOM}")
    assert (parsed.call, parsed.answer, parsed.n_further_calls) == (CROP, None, 1)
    assert parse_message(r"<tool_call>oops</tool_call> \boxed{A}").answer is None
    assert parse_message(r"Seen. \boxed{A}").answer == "A"


class TestWithinThinking:
    """The prompt opened the thoughts, so that a message begins within them."""

    def test_a_call_is_a_call(self):
        assert parse_message(f"Maybe this?\n{ZOOM}\n</think>\n\nHm. \\boxed{{A}}").call == CROP

    def test_the_last_box_is_the_answer(self):
        assert parse_message("\\boxed{A}? No.\n</think>\n\nIt is \\boxed{B}.").answer == "B"
        assert parse_message("It must be \\boxed{A}.\n</think>\n\nI am sure.").answer == "A"


REPEATED = [
    "<tool_call>", "<tool_call><function=f>", "<parameter=x>", "</parameter>", "<tool_call><function=",
    "<tool_call><function=f><parameter=x>", "<tool_call><function=f><parameter=x>[", "{", "\n", ">",
]  # fmt: skip


@pytest.mark.parametrize("unit", REPEATED)
def test_the_time_is_linear(unit):
    text = (unit * 200_000)[:200_000]
    start = time.process_time()
    parse_message(text)
    parse_message("<tool_call><function=f>" + text)
    assert time.process_time() - start < 5.0


def test_many_parameters_are_read_in_time():
    call = ToolCall("f", {str(i): i for i in range(5000)})
    start = time.process_time()
    assert parse_message(format_call(call)).call == call
    assert time.process_time() - start < 5.0
