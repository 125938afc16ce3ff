"""Calls as JSON between tags, the form of Hermes and of Qwen2.5-VL and Qwen3-VL.

A message may hold one operation::

    The sign is tiny. <tool_call>{"name": "crop_image", "arguments": {"bbox_2d": [1, 2, 3, 4]}}</tool_call>

Nothing here raises for any text: what looks like a call and cannot be read becomes `Parsed.call_error`,
one sentence the model can act on. `chat.calls` has what holds for every syntax.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pixelreasoner.chat import calls
from pixelreasoner.chat.calls import CALL_CLOSE, CALL_OPEN, BrokenCallError
from pixelreasoner.core.messages import Parsed, ToolCall


def parse_message(text: str) -> Parsed:
    """Read one model message, as `calls.parse_message`; never raises.

    "arguments" may be left out; the operation then says what it needs.
    """
    return calls.parse_message(text, _read_call)


def format_call(call: ToolCall) -> str:
    """The call as a model writes it; `parse_message` reads it back unchanged."""
    body = {"name": call.name, "arguments": dict(call.arguments)}
    return f"{CALL_OPEN}\n{json.dumps(body, ensure_ascii=False, allow_nan=False)}\n{CALL_CLOSE}"


def _read_call(rest: str) -> tuple[ToolCall, str]:
    """The call that `rest` opens with, and the text after its closing tag."""
    body = rest.lstrip()
    if body.startswith(CALL_CLOSE):
        raise BrokenCallError(f"the tool call is empty; {_EXPECTED}")
    value, end = _read_json(body)
    closing = body[end:].lstrip()
    if not closing.startswith(CALL_CLOSE):
        if CALL_CLOSE in closing:
            raise BrokenCallError(f"the tool call holds more than the JSON object; {_EXPECTED}")
        raise BrokenCallError(f"the tool call is not closed with {CALL_CLOSE}")
    return _checked(value), closing.removeprefix(CALL_CLOSE)


_EXPECTED = 'write one JSON object with "name" and "arguments"'


def _read_json(body: str) -> tuple[Any, int]:
    """The JSON value at the start of `body` and where it ends.

    Decoding the value first, and looking for the closing tag after it, lets a string argument hold the tag.
    """
    try:
        return calls.read_json(body)
    except json.JSONDecodeError as e:
        if CALL_CLOSE not in body:
            raise BrokenCallError(f"the tool call is not closed with {CALL_CLOSE}") from None
        raise BrokenCallError(f"the tool call is not valid JSON ({e.msg}); {_EXPECTED}") from None


def _checked(value: Any) -> ToolCall:
    if not isinstance(value, dict):
        raise BrokenCallError(f"the tool call is not a JSON object; {_EXPECTED}")
    name, arguments = value.get("name"), value.get("arguments", {})
    if not isinstance(name, str) or not name.strip():
        raise BrokenCallError(f'the tool call has no "name"; {_EXPECTED}')
    if not isinstance(arguments, dict):
        raise BrokenCallError(f'"arguments" of the tool call is not a JSON object; {_EXPECTED}')
    calls.check_contents(value)
    return ToolCall(name=name, arguments=arguments)


class HermesSyntax:
    """JSON between tags, as a `chat.families.CallSyntax`."""

    open_tag = CALL_OPEN

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]] = ()) -> Parsed:
        """See `parse_message`; JSON says the types of its values itself."""
        return parse_message(text)

    def format(self, call: ToolCall) -> str:
        """See `format_call`."""
        return format_call(call)


HERMES = HermesSyntax()
