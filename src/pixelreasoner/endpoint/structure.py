"""Structures in replies: how they are asked for, and how they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from pixelreasoner.chat.qwen import THOUGHT_END
from pixelreasoner.core.config import explain
from pixelreasoner.endpoint.failures import UnusableReplyError, one_line

M = TypeVar("M", bound=BaseModel)
Mode = Literal["strict", "object", "none"]

WANTED = "Reply with one JSON object and nothing else. It must follow this JSON schema:\n{schema}"
"""In place of, or beside, a server that holds the reply to the schema."""
MEND = "This reply cannot be used: {problem}. Reply again: the whole corrected JSON object, nothing else."
"""To the model, after a reply that was not of the structure."""
UNSUPPORTED = ("default", "title", "minLength", "maxLength", "uniqueItems", "examples", "discriminator")
"""Words of a schema that strict servers refuse; the reply is checked against them here."""
MOST_CHARACTERS = 1_000_000
"""Of a reply that is searched for JSON."""
MOST_OBJECTS = 100
"""Of a reply that are looked at."""
_BEGUN = re.compile(r'\{\s*(?:"|\})')
_FENCED = re.compile(r"```[ \t]*(?:json)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)


# ------------------------------------------------------------------------------------------------ asking


def response_format(kind: type[BaseModel], mode: Mode) -> dict[str, Any] | None:
    """The field `response_format` of a request; None for none."""
    if mode == "none":
        return None
    if mode == "object":
        return {"type": "json_object"}
    schema = {"name": kind.__name__, "schema": strict_schema(kind), "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def with_words(messages: Sequence[dict[str, Any]], kind: type[BaseModel]) -> list[dict[str, Any]]:
    """The messages with the schema in words, at the end of the last message of the user."""
    words = WANTED.format(schema=json.dumps(kind.model_json_schema(), ensure_ascii=False))
    out = list(messages)
    at = max((i for i, m in enumerate(out) if m["role"] == "user"), default=None)
    if at is None:
        return [*out, {"role": "user", "content": words}]
    content = out[at]["content"]
    longer = (
        f"{content}\n\n{words}" if isinstance(content, str) else [*content, {"type": "text", "text": words}]
    )
    out[at] = out[at] | {"content": longer}
    return out


def strict_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a structure, as strict servers take it: each field required, no other one."""
    return _strict(kind.model_json_schema())


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    out: dict[str, Any] = {}
    for name, value in node.items():
        if name in ("properties", "$defs"):  # here names are the structure's own
            out[name] = {inner: _strict(schema) for inner, schema in value.items()}
        elif name == "prefixItems":  # of a tuple
            items = [_strict(item) for item in value]
            same = all(item == items[0] for item in items)
            out["items"] = items[0] if same else {"anyOf": items}
        elif name == "oneOf":
            out["anyOf"] = _strict(value)
        elif name not in UNSUPPORTED:
            out[name] = value if name in ("enum", "const", "required") else _strict(value)
    if "properties" in out:
        out |= {"required": list(out["properties"]), "additionalProperties": False}
    return out


# ------------------------------------------------------------------------------------------------ reading


def read_structure(text: str, kind: type[M]) -> M:
    """The one structure in a reply: alone, in a code fence, or with words around it; thoughts are left out.

    Raises:
        UnusableReplyError: there is no JSON object (`not_json`), none of the structure (`invalid`), or
            several that differ (`not_json`).
    """
    text = text.rpartition(THOUGHT_END)[2].strip()
    found: list[M] = []
    problem = ""
    for candidate in _objects(text):
        try:
            read = kind.model_validate(candidate)
        except ValidationError as e:
            problem = problem or "; ".join(explain(error) for error in e.errors()[:3])
            continue
        if read not in found:
            found.append(read)
    if len(found) == 1:
        return found[0]
    if found:
        raise UnusableReplyError("not_json", f"the reply holds {len(found)} JSON objects that differ")
    if problem:
        raise UnusableReplyError("invalid", one_line(problem))
    raise UnusableReplyError("not_json", f"no JSON object in: {one_line(text)[:200] or 'an empty reply'}")


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects of a text: of its code fences where they hold any, else of all."""
    if len(text) > MOST_CHARACTERS:
        return
    fenced = [found for block in _FENCED.findall(text) for found in _scan(block)]
    yield from fenced or _scan(text)


def _scan(text: str) -> Iterator[dict[str, Any]]:
    """The objects of a text, in order; what begins as one and is broken ends the search."""
    decoder, at = json.JSONDecoder(), 0
    for _ in range(MOST_OBJECTS):
        # Other braces are not tried: each error would count the lines before it.
        begun = _BEGUN.search(text, at)
        if begun is None:
            return
        try:
            value, at = decoder.raw_decode(text, begun.start())
        except (ValueError, RecursionError):
            return  # what is within a broken object is not a reply
        yield value
