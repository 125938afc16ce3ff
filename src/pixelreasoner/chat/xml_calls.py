"""Calls as tags within tags, the form of Qwen3.5.

A message may hold one operation::

    The sign is tiny.
    <tool_call>
    <function=crop_image>
    <parameter=bbox_2d>
    [1, 2, 3, 4]
    </parameter>
    </function>
    </tool_call>

One line break on either side of a value belongs to the tags. Values are typed as the parsers of inference
engines do it: where the description of the tool says that a parameter is a string, its value is the text as
it stands; otherwise a value that is JSON is that value, and any other one is a string.

The form has no way to write a closing tag, or a string that reads as JSON, as text. `format_call` writes such
a string as JSON, with its angle brackets escaped, and reads it back; so it does with names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pixelreasoner.chat import calls
from pixelreasoner.chat.calls import CALL_CLOSE, CALL_OPEN, BrokenCallError
from pixelreasoner.core.messages import Parsed, ToolCall

FUNCTION, FUNCTION_CLOSE = "<function=", "</function>"
PARAMETER, PARAMETER_CLOSE = "<parameter=", "</parameter>"
_TAG = re.compile(r"</?(?:tool_call|function|parameter)")
"""What a value may not hold as plain text."""
_EXPECTED = f"write {FUNCTION}name>, then {PARAMETER}key>value{PARAMETER_CLOSE} for each argument, then "
_EXPECTED += f"{FUNCTION_CLOSE}{CALL_CLOSE}"
_PYTHON_WORDS = {"true": True, "false": False}

Tools = Sequence[Mapping[str, Any]]
"""Function descriptions in the OpenAI form."""


def parse_message(text: str, tools: Tools = ()) -> Parsed:
    """Read one model message, as `calls.parse_message`; never raises. `tools` say the types of values."""
    return calls.parse_message(text, lambda rest: _read_call(rest, tools))


def format_call(call: ToolCall) -> str:
    """The call as a model writes it; `parse_message` reads it back unchanged."""
    lines = [CALL_OPEN, f"{FUNCTION}{_written_name(call.name)}>"]
    for name, value in call.arguments.items():
        lines += [f"{PARAMETER}{_written_name(name)}>", _written_value(value), PARAMETER_CLOSE]
    return "\n".join([*lines, FUNCTION_CLOSE, CALL_CLOSE])


# Writing


def _written_name(name: str) -> str:
    if name == name.strip() != "" and not any(c in name for c in '<>"\n'):
        return name
    return _escaped(name)


def _written_value(value: Any) -> str:
    if not isinstance(value, str):
        return _escaped(value)
    return _escaped(value) if _TAG.search(value) or _is_json(value) else value


def _escaped(value: Any) -> str:
    """As JSON without angle brackets: outside of strings JSON has none."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def _is_json(text: str) -> bool:
    """Whether a string would be read as another value, or not at all."""
    try:
        _decoded(text)
    except json.JSONDecodeError:
        return False
    except BrokenCallError:
        return True
    return True


# Reading


def _read_call(rest: str, tools: Tools) -> tuple[ToolCall, str]:
    """The call that `rest` opens with, and the text after its closing tag."""
    body = rest.lstrip()
    if body.startswith(CALL_CLOSE):
        raise BrokenCallError(f"the tool call is empty; {_EXPECTED}")
    if not body.startswith(FUNCTION):
        _check_closed(body, CALL_CLOSE)
        raise BrokenCallError(f"the tool call does not begin with {FUNCTION}name>; {_EXPECTED}")
    name, body = _read_name(body.removeprefix(FUNCTION), "function")
    types = _types_of(name, tools)
    arguments: dict[str, Any] = {}
    body = body.lstrip()
    while body.startswith(PARAMETER):
        key, body = _read_name(body.removeprefix(PARAMETER), "parameter")
        if key in arguments:
            raise BrokenCallError("the tool call gives one key twice")
        _check_closed(body, PARAMETER_CLOSE)
        value, _, body = body.partition(PARAMETER_CLOSE)
        arguments[key] = _typed(value.removeprefix("\n").removesuffix("\n"), types.get(key))
        body = body.lstrip()
    return _ended(ToolCall(name, arguments), body)


def _ended(call: ToolCall, body: str) -> tuple[ToolCall, str]:
    """The call, and the text after the tags that close it, with which `body` begins."""
    if not body.startswith(FUNCTION_CLOSE):
        _check_closed(body, FUNCTION_CLOSE)
        raise BrokenCallError(f"the tool call holds text outside of its parameters; {_EXPECTED}")
    body = body.removeprefix(FUNCTION_CLOSE).lstrip()
    if not body.startswith(CALL_CLOSE):
        _check_closed(body, CALL_CLOSE)
        raise BrokenCallError(f"the tool call holds more than one function; {_EXPECTED}")
    calls.check_contents({"name": call.name, "arguments": call.arguments})
    return call, body.removeprefix(CALL_CLOSE)


def _check_closed(body: str, tag: str) -> None:
    if tag not in body:
        raise BrokenCallError(f"the tool call is not closed with {tag}")


def _read_name(body: str, kind: str) -> tuple[str, str]:
    """The name up to the bracket that closes its tag, and the text after it."""
    name, closed, rest = body.partition(">")
    name = name.strip()
    if not closed or "\n" in name:
        raise BrokenCallError(f"the {kind} tag of the tool call is not closed with >; {_EXPECTED}")
    if name.startswith('"'):
        try:
            read = _decoded(name)
        except json.JSONDecodeError:
            read = name
        name = read if isinstance(read, str) else name
    if kind == "function" and not name.strip():
        raise BrokenCallError(f"the tool call has no name; {_EXPECTED}")
    return name, rest


def _typed(text: str, kind: object) -> Any:
    """The value of a parameter that the tool describes as of `kind`, a type of JSON Schema or None."""
    if kind == "string":
        # As it stands, unless it was written as a JSON string.
        quoted = _json_or_text(text) if text.startswith('"') else text
        return quoted if isinstance(quoted, str) else text
    if kind == "boolean" and text.strip().lower() in _PYTHON_WORDS:
        return _PYTHON_WORDS[text.strip().lower()]
    return _json_or_text(text)


def _json_or_text(text: str) -> Any:
    try:
        return _decoded(text)
    except json.JSONDecodeError:
        return text


def _decoded(text: str) -> Any:
    """The JSON value that the whole text is.

    Raises:
        json.JSONDecodeError: it is none.
        BrokenCallError: it is one that a call may not hold.
    """
    body = text.strip(" \t\r\n")
    value, end = calls.read_json(body)
    if end != len(body):
        raise json.JSONDecodeError("more than one value", body, end)
    return value


def _types_of(name: str, tools: Tools) -> Mapping[str, object]:
    """The JSON Schema type of each parameter of a tool, where there is one."""
    for tool in tools:
        function = tool.get("function", tool)
        if function.get("name") == name:
            properties = function.get("parameters", {}).get("properties", {})
            return {key: about.get("type") for key, about in properties.items() if isinstance(about, Mapping)}
    return {}


class XmlSyntax:
    """Tags within tags, as a `chat.families.CallSyntax`."""

    open_tag = CALL_OPEN

    def parse(self, text: str, tools: Tools = ()) -> Parsed:
        """See `parse_message`."""
        return parse_message(text, tools)

    def format(self, call: ToolCall) -> str:
        """See `format_call`."""
        return format_call(call)


XML_CALLS = XmlSyntax()
