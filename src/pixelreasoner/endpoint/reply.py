"""What a server answered, in the forms that servers give it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pixelreasoner.chat.calls import CALL_CLOSE, CALL_OPEN
from pixelreasoner.endpoint.failures import one_line

REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Where servers put a model's thoughts: SGLang and older vLLM in the first, vLLM today in the second."""

MOST_TOKENS = 10**9
"""Of a prompt or a reply; a server that says more says nothing."""


class BrokenReplyError(Exception):
    """A reply that cannot be read; the text says what is wrong."""


@dataclass(frozen=True)
class NativeCall:
    """One of a reply's `tool_calls`."""

    id: str
    name: str
    arguments: str
    """JSON, as the server gave it: nothing checked."""

    @property
    def text(self) -> str:
        """As a model writes it in the JSON syntax; broken arguments stay broken."""
        body = f'{{"name": {json.dumps(self.name)}, "arguments": {self.arguments.strip() or "{}"}}}'
        return f"{CALL_OPEN}\n{body}\n{CALL_CLOSE}"


@dataclass(frozen=True)
class Reply:
    """What a server answered to one request."""

    content: str
    reasoning: str = ""
    """Thoughts that the server's parser took out of the message."""
    reasoning_field: str = ""
    """The field that they were in."""
    calls: tuple[NativeCall, ...] = ()
    finish: str = "stop"
    """`length` for a message that was cut, `content_filter` for one that was held back."""
    refusal: str = ""
    """The words of a model that would not answer, where the server gives them apart."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


def read_body(content: bytes) -> Reply:
    """The reply in the bytes of a chat completion.

    Raises:
        BrokenReplyError: they are no JSON, or hold no message.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as e:
        raise BrokenReplyError(f"the reply is not JSON ({e})") from e
    return read_reply(data)


def read_reply(data: Any) -> Reply:
    """The reply in the body of a chat completion.

    Raises:
        BrokenReplyError: it holds no message.
    """
    try:
        if not data.get("choices") and (error := data.get("error")):  # of a gateway, with status 200
            raise BrokenReplyError(f"the reply is no chat completion, but an error: {one_line(str(error))}")
        choice = data["choices"][0]
        message = choice["message"]
        calls = tuple(_read_call(call, at) for at, call in enumerate(message.get("tool_calls") or ()))
        content = message.get("content") or ""
        if not isinstance(content, str):  # some servers give a list of parts
            content = "".join(part.get("text", "") for part in content)
        field = next((name for name in REASONING_FIELDS if message.get(name)), "")
        usage = data.get("usage")
        usage = usage if isinstance(usage, Mapping) else {}
        return Reply(
            content=_whole(content),
            reasoning=str(message[field]) if field else "",
            reasoning_field=field,
            calls=calls,
            finish=str(choice.get("finish_reason") or "stop"),
            refusal=_whole(str(message.get("refusal") or "")),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
        )
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as e:
        raise BrokenReplyError(f"the reply is no chat completion ({type(e).__name__}: {e})") from e


def _count(value: Any) -> int:
    """A number of tokens; 0, which is an unknown one, for what cannot be one.

    A reply is paid for whatever is said of its tokens: it is not asked for again because of them.
    """
    try:
        number = int(value or 0)
    except (TypeError, ValueError, OverflowError):
        return 0
    return number if 0 <= number <= MOST_TOKENS else 0


def _whole(text: str) -> str:
    """A text without halves of characters (lone surrogates), which have no place on a disk."""
    return text.encode(errors="replace").decode()


def _read_call(call: Mapping[str, Any], at: int) -> NativeCall:
    function = call["function"]
    arguments = function.get("arguments") or ""
    # The protocol has JSON text; some servers give the object.
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return NativeCall(str(call.get("id") or f"call_{at}"), str(function["name"]), text)
