"""Reading a model message.

1. What `format_call` writes, `parse_message` reads back unchanged.
2. No text raises.
3. A call, broken or not, wins over an answer; the first call counts.
4. A broken call is explained in one sentence.
5. Whatever is accepted can be saved: finite numbers, encodable strings, shallow nesting.
"""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.chat.calls import MAX_DEPTH, MAX_DIGITS, last_boxed
from pixelreasoner.chat.hermes import format_call, parse_message
from pixelreasoner.core.messages import ToolCall

ZOOM = '<tool_call>{"name": "crop_image", "arguments": {"bbox_2d": [1, 2, 3, 4]}}</tool_call>'

number = st.integers(-(10**MAX_DIGITS) + 1, 10**MAX_DIGITS - 1) | st.floats(-1e14, 1e14)
leaf = st.none() | st.booleans() | number | st.text() | st.sampled_from(["</tool_call>", "<tool_call>"])
argument = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3), max_leaves=8).filter(
    lambda value: json.dumps(value).count("[") < MAX_DEPTH - 2
)
calls = st.builds(
    ToolCall, st.text(min_size=1).filter(str.strip), st.dictionaries(st.text(), argument, max_size=3)
)
prose = st.text().filter(lambda text: "<tool_call>" not in text)
fragments = st.lists(
    st.sampled_from(['<tool_call>', '</tool_call>', '{"name":', '"crop_image"', ',"arguments":', "{", "}",
                     "[", "]", "1e999", "NaN", "-Infinity", '"\\ud800"', "\\boxed{", "9" * 5000, " ", "\x00"])
    | st.text(st.characters(), max_size=5),
    max_size=12,
)  # fmt: skip


@given(prose, calls, prose)
def test_a_call_survives_the_round_trip(before, call, after):
    parsed = parse_message(before + format_call(call) + after)
    assert parsed.call == call
    assert parsed.call_error is None
    assert parsed.text == (before + after).strip()


@given(fragments)
def test_no_text_raises_and_at_most_one_thing_is_said(parts):
    text = "".join(parts)
    parsed = parse_message(text)
    assert sum(x is not None for x in (parsed.call, parsed.call_error, parsed.answer)) <= 1
    if parsed.call is not None:
        assert parse_message(format_call(parsed.call)).call == parsed.call
        format_call(parsed.call).encode()


def call_with(arguments: str) -> str:
    return f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<tool_call>", "not closed"),
        ("<tool_call>   </tool_call>", "empty"),
        ('<tool_call>{"name": "f", "arguments": {}}', "not closed"),
        ('<tool_call>{"name": "f", "argum', "not closed"),
        ("<tool_call>crop_image(1, 2)</tool_call>", "not valid JSON"),
        ("<tool_call>{'name': 'f'}</tool_call>", "not valid JSON"),
        ("<tool_call>[1]</tool_call>", "not a JSON object"),
        ("<tool_call>null</tool_call>", "not a JSON object"),
        ('<tool_call>{"arguments": {}}</tool_call>', 'no "name"'),
        ('<tool_call>{"name": 3, "arguments": {}}</tool_call>', 'no "name"'),
        ('<tool_call>{"name": " ", "arguments": {}}</tool_call>', 'no "name"'),
        (call_with("[1]"), '"arguments"'),
        (call_with("null"), '"arguments"'),
        (call_with('"{}"'), '"arguments"'),
        ('<tool_call>{"name": "f"} {"name": "g"}</tool_call>', "more than the JSON object"),
        (call_with('{"x": NaN}'), "NaN"),
        (call_with('{"x": -Infinity}'), "-Infinity"),
        (call_with('{"x": 1e400}'), "too large"),
        (call_with('{"x": ' + "9" * 5000 + "}"), "too large"),
        (call_with('{"x": 1, "x": 2}'), "one key twice"),
        (call_with('{"x": "\\ud800"}'), "Unicode"),
        (call_with('{"\\udc00": 1}'), "Unicode"),
        (call_with('{"x": ' + "[" * 20 + "]" * 20 + "}"), "nested too deeply"),
        (call_with('{"x": ' + "[" * 200_000 + "]" * 200_000 + "}"), "nested too deeply"),
        ("<tool_call>" + "{" * 200_000, "not closed"),
        ("<tool_call>" + '{"a":' * 200_000 + "</tool_call>", "nested too deeply"),
    ],
)
def test_a_broken_call_is_explained(text, says):
    parsed = parse_message(text)
    assert parsed.call is None
    assert parsed.answer is None
    assert parsed.call_error is not None
    assert says in parsed.call_error


def test_a_call_wins_over_an_answer():
    parsed = parse_message(rf"Let me look. {ZOOM} \boxed{{A}}")
    assert parsed.call == ToolCall("crop_image", {"bbox_2d": [1, 2, 3, 4]})
    assert parsed.answer is None
    assert parse_message(r"<tool_call>oops</tool_call> \boxed{A}").answer is None


def test_the_first_call_counts():
    parsed = parse_message(ZOOM + ZOOM.replace("crop_image", "select_frames"))
    assert parsed.call is not None
    assert parsed.call.name == "crop_image"


def test_a_broken_first_call_is_not_replaced_by_a_second():
    assert parse_message("<tool_call>oops</tool_call>" + ZOOM).call_error is not None


@pytest.mark.parametrize(
    ("text", "further"),
    [
        (ZOOM, 0),
        (ZOOM + ZOOM, 1),
        (f"{ZOOM} and {ZOOM} and {ZOOM}", 2),
        (ZOOM + "<tool_call>{half", 1),
        ("<tool_call>oops</tool_call>" + ZOOM, 1),
        ("<tool_call>oops", 0),
        ('<tool_call>{"name": "f", "arguments": {"q": "<tool_call>"}}</tool_call>', 0),
        (r"\boxed{K}", 0),
    ],
)
def test_calls_after_the_first_are_counted(text, further):
    assert parse_message(text).n_further_calls == further


@pytest.mark.parametrize(
    "text", ["I will not use <tool_call> here. \\boxed{K}", "<think>A <tool_call>?</think> \\boxed{K}"]
)
def test_a_tag_in_prose_is_a_call_that_cannot_be_read(text):
    parsed = parse_message(text)
    assert (parsed.call, parsed.answer) == (None, None)
    assert parsed.call_error == "the tool call is not closed with </tool_call>"


REPEATED = [
    "<tool_call>", "</tool_call>", '<tool_call>{"a":', "<tool_call>[", '<tool_call>{"name": "f"}</tool_call>',
    "\\boxed{", "\\boxed ", "\\boxed{}", "{", "}", "\\", "\\{", "a", " ", "<tool_call>1", "<tool_call>-",
    '<tool_call>"\\u00',
]  # fmt: skip


@pytest.mark.parametrize("unit", REPEATED)
def test_the_time_is_linear(unit):
    """A model that repeats itself costs no more than its tokens."""
    text = (unit * 200_000)[:200_000]
    start = time.process_time()
    parse_message(text)
    last_boxed("\\boxed{" + text)
    assert time.process_time() - start < 10.0


def test_arguments_may_be_left_out_and_other_keys_are_ignored():
    assert parse_message('<tool_call>{"name": "f", "id": 3}</tool_call>').call == ToolCall("f", {})


def test_a_closing_tag_alone_is_text():
    parsed = parse_message(r"</tool_call> \boxed{A}")
    assert (parsed.call, parsed.call_error, parsed.answer) == (None, None, "A")


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{A}", "A"),
        (r"first \boxed{A}, then \boxed{ B }.", "B"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{\{1\}}", r"\{1\}"),
        (r"\boxed{}", ""),
        (r"\boxed{A} and \boxed{B", None),
        (r"\boxed{\}", None),
        (r"\boxed{", None),
        ("boxed{A}", None),
        ("A", None),
        ("", None),
        (r"\boxed{a" + "\n" + "b}", "a\nb"),
    ],
)
def test_last_boxed(text, content):
    assert last_boxed(text) == content


@given(st.text(st.sampled_from("\\{}boxed A")))
def test_last_boxed_never_raises(text):
    last_boxed(text + r"\boxed{" + text)


@pytest.mark.parametrize("text", [r"\boxed {K}", "\\boxed\n{K}", r"\fbox{K}", r"\fbox{no} then \boxed  {K}"])
def test_boxes_as_latex_allows_them(text):
    assert parse_message(text).answer == "K"
