r"""Calls as JSON between tags, the form of Hermes and of the Qwen families, read from and written to text.

A message may hold one operation, and a final answer::

    The sign is tiny. <tool_call>{"name": "crop_image", "arguments": {"bbox_2d": [1, 2, 3, 4]}}</tool_call>
    It reads K. \boxed{K}

Nothing here raises for any text: what looks like a call and cannot be read becomes `Parsed.call_error`,
one sentence the model can act on. Whatever is accepted is safe downstream: finite numbers, encodable
strings, shallow nesting.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pixelreasoner.core.messages import Parsed, ToolCall

CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
_BOX_OPEN = re.compile(r"\\(?:boxed|fbox)\s*\{")
"""LaTeX allows blanks before the brace."""

MAX_DEPTH = 8
"""Lists and objects inside each other in a call; no operation needs more than three."""
MAX_DIGITS = 15
"""Digits before the point of a number in a call: integers stay exact as floats, geometry never overflows."""


def parse_message(text: str) -> Parsed:
    r"""Read one model message; never raises.

    * The first call counts, whether it can be read or not. Operations are answered one at a time, so later
      calls are only counted (`Parsed.n_further_calls`); the model is told.
    * Where the opening tag stands, a call begins: in prose, in quotes and within a model's thinking too. A
      message that only speaks of the tag ("I will not use <tool_call> here") has made a call that cannot be
      read. It costs the turn, and the model is told why.
    * A call, even a broken one, wins over a \boxed{} in the same message: the model asked to look again,
      and an answer given before it has looked is a guess.
    * "arguments" may be left out; the operation then says what it needs.
    """
    before, opened, rest = text.partition(CALL_OPEN)
    if not opened:
        return Parsed(text=text.strip(), answer=last_boxed(text))
    try:
        call, after = _read_call(rest)
    except _BrokenCallError as e:
        further = rest.partition(CALL_CLOSE)[2].count(CALL_OPEN)
        return Parsed(text=text.strip(), call_error=str(e), n_further_calls=further)
    return Parsed(text=(before + after).strip(), call=call, n_further_calls=after.count(CALL_OPEN))


def format_call(call: ToolCall) -> str:
    """The call as a model writes it; `parse_message` reads it back unchanged."""
    body = {"name": call.name, "arguments": dict(call.arguments)}
    return f"{CALL_OPEN}\n{json.dumps(body, ensure_ascii=False, allow_nan=False)}\n{CALL_CLOSE}"


def last_boxed(text: str) -> str | None:
    r"""The content of the last \boxed{...} or \fbox{...}, stripped; None without one, or if it is not closed.

    Braces inside must balance; `\{` and `\}` are literal braces, as in LaTeX. An unclosed last box is not
    replaced by an earlier one: the message was cut in the middle of its answer.
    """
    found = list(_BOX_OPEN.finditer(text))
    if not found:
        return None
    start = at = found[-1].end()
    depth = 1
    while at < len(text):
        match text[at]:
            case "\\":
                at += 1
            case "{":
                depth += 1
            case "}":
                depth -= 1
                if depth == 0:
                    return text[start:at].strip()
        at += 1
    return None


class _BrokenCallError(Exception):
    """A call that cannot be read; the text is written for the model."""


def _read_call(rest: str) -> tuple[ToolCall, str]:
    """The call that `rest` opens with, and the text after its closing tag."""
    body = rest.lstrip()
    if body.startswith(CALL_CLOSE):
        raise _BrokenCallError(f"the tool call is empty; {_EXPECTED}")
    value, end = _read_json(body)
    closing = body[end:].lstrip()
    if not closing.startswith(CALL_CLOSE):
        if CALL_CLOSE in closing:
            raise _BrokenCallError(f"the tool call holds more than the JSON object; {_EXPECTED}")
        raise _BrokenCallError(f"the tool call is not closed with {CALL_CLOSE}")
    return _checked(value), closing.removeprefix(CALL_CLOSE)


_EXPECTED = 'write one JSON object with "name" and "arguments"'


def _read_json(body: str) -> tuple[Any, int]:
    """The JSON value at the start of `body` and where it ends.

    Decoding the value first, and looking for the closing tag after it, lets a string argument hold the tag.
    """
    try:
        return _DECODER.raw_decode(body)
    except RecursionError:
        raise _BrokenCallError("the tool call is nested too deeply") from None
    except json.JSONDecodeError as e:
        if CALL_CLOSE not in body:
            raise _BrokenCallError(f"the tool call is not closed with {CALL_CLOSE}") from None
        raise _BrokenCallError(f"the tool call is not valid JSON ({e.msg}); {_EXPECTED}") from None


def _checked(value: Any) -> ToolCall:
    if not isinstance(value, dict):
        raise _BrokenCallError(f"the tool call is not a JSON object; {_EXPECTED}")
    name, arguments = value.get("name"), value.get("arguments", {})
    if not isinstance(name, str) or not name.strip():
        raise _BrokenCallError(f'the tool call has no "name"; {_EXPECTED}')
    if not isinstance(arguments, dict):
        raise _BrokenCallError(f'"arguments" of the tool call is not a JSON object; {_EXPECTED}')
    _check_contents(value)
    return ToolCall(name=name, arguments=arguments)


def _check_contents(value: Any) -> None:
    """Refuse what JSON allows and later code (records, tokenizers) would choke on."""
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _BrokenCallError("the tool call is nested too deeply")
        if isinstance(item, dict):
            waiting += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            waiting += [(part, depth + 1) for part in item]
        elif isinstance(item, str) and any("\ud800" <= c <= "\udfff" for c in item):
            raise _BrokenCallError("the tool call holds a character that is not valid Unicode")


def _read_int(digits: str) -> int:
    # Also keeps clear of Python's limit on int-string conversion, and of float overflow in geometry.
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise _BrokenCallError("the tool call holds a number that is too large")
    return int(digits)


def _read_float(digits: str) -> float:
    number = float(digits)
    if abs(number) >= 10**MAX_DIGITS:
        raise _BrokenCallError("the tool call holds a number that is too large")
    return number


def _refuse_constant(name: str) -> None:
    raise _BrokenCallError(f"the tool call holds {name}, which is not a number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        raise _BrokenCallError("the tool call gives one key twice")
    return out


_DECODER = json.JSONDecoder(
    parse_int=_read_int,
    parse_float=_read_float,
    parse_constant=_refuse_constant,
    object_pairs_hook=_unique_keys,
)


class HermesSyntax:
    """JSON between tags, as a `chat.families.CallSyntax`."""

    open_tag = CALL_OPEN

    def parse(self, text: str) -> Parsed:
        """See `parse_message`."""
        return parse_message(text)

    def format(self, call: ToolCall) -> str:
        """See `format_call`."""
        return format_call(call)


HERMES = HermesSyntax()
