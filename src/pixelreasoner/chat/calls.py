r"""What the syntaxes of calls share: the frame of a message, the limits of what a call may hold, the answer.

Calls of both kinds stand between the same tags::

    The sign is tiny. <tool_call> ... </tool_call>
    It reads K. \boxed{K}

Whatever is accepted is safe downstream: finite numbers, encodable strings, shallow nesting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from pixelreasoner.core.messages import Parsed, ToolCall

CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
_BOX_OPEN = re.compile(r"\\(?:boxed|fbox)\s*\{")
"""LaTeX allows blanks before the brace."""

MAX_DEPTH = 8
"""Lists and objects inside each other in a call; no operation needs more than three."""
MAX_DIGITS = 15
"""Digits before the point of a number in a call: integers stay exact as floats, geometry never overflows."""


class BrokenCallError(Exception):
    """A call that cannot be read; the text is written for the model."""


def parse_message(text: str, read_call: Callable[[str], tuple[ToolCall, str]]) -> Parsed:
    r"""Read one model message; never raises.

    * The first call counts, whether it can be read or not. Operations are answered one at a time, so later
      calls are only counted (`Parsed.n_further_calls`); the model is told.
    * Where the opening tag stands, a call begins: in prose, in quotes and within a model's thinking too. A
      message that only speaks of the tag ("I will not use <tool_call> here") has made a call that cannot be
      read. It costs the turn, and the model is told why.
    * A call, even a broken one, wins over a \boxed{} in the same message: the model asked to look again,
      and an answer given before it has looked is a guess.
    * The last \boxed{} of a message is its answer, wherever it stands: within thinking too.

    Args:
        text: of the message.
        read_call: reads the text after an opening tag: the call, and the text after its closing tag; raises
            `BrokenCallError`.
    """
    before, opened, rest = text.partition(CALL_OPEN)
    if not opened:
        return Parsed(text=text.strip(), answer=last_boxed(text))
    try:
        call, after = read_call(rest)
    except BrokenCallError as e:
        further = rest.partition(CALL_CLOSE)[2].count(CALL_OPEN)
        return Parsed(text=text.strip(), call_error=str(e), n_further_calls=further)
    return Parsed(text=(before + after).strip(), call=call, n_further_calls=after.count(CALL_OPEN))


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


def read_json(text: str) -> tuple[Any, int]:
    """The JSON value at the start of `text`, and where it ends.

    Raises:
        BrokenCallError: it holds what later code would choke on.
        json.JSONDecodeError: there is none.
    """
    try:
        return _DECODER.raw_decode(text)
    except RecursionError:
        raise BrokenCallError("the tool call is nested too deeply") from None


def check_contents(value: Any) -> None:
    """Refuse what JSON allows and later code (records, tokenizers) would choke on.

    Raises:
        BrokenCallError: there is such a thing in the name and arguments of a call.
    """
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise BrokenCallError("the tool call is nested too deeply")
        if isinstance(item, dict):
            waiting += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            waiting += [(part, depth + 1) for part in item]
        elif isinstance(item, str) and any("\ud800" <= c <= "\udfff" for c in item):
            raise BrokenCallError("the tool call holds a character that is not valid Unicode")


def _read_int(digits: str) -> int:
    # Also keeps clear of Python's limit on int-string conversion, and of float overflow in geometry.
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise BrokenCallError("the tool call holds a number that is too large")
    return int(digits)


def _read_float(digits: str) -> float:
    number = float(digits)
    if abs(number) >= 10**MAX_DIGITS:
        raise BrokenCallError("the tool call holds a number that is too large")
    return number


def _refuse_constant(name: str) -> None:
    raise BrokenCallError(f"the tool call holds {name}, which is not a number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        raise BrokenCallError("the tool call gives one key twice")
    return out


_DECODER = json.JSONDecoder(
    parse_int=_read_int,
    parse_float=_read_float,
    parse_constant=_refuse_constant,
    object_pairs_hook=_unique_keys,
)
