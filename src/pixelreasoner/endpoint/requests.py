"""A request to a chat server: what it asks, by what it is known, and how it is sent."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from pixelreasoner.endpoint.pictures import PictureUrl, picture_part, text_part

__all__ = ["ChatMessage", "ChatRequest", "encode_body", "picture_part", "text_part"]

ChatMessage = dict[str, Any]
"""A message of a request."""


@dataclass(frozen=True)
class ChatRequest:
    """One question to a model; everything that its reply depends on but the server."""

    purpose: str
    """What it is for ("propose", "write", "judge", "solve"): what is spent is counted by it."""
    messages: tuple[ChatMessage, ...]
    """In the protocol's form; pictures by `picture_part`, or as data URLs."""
    temperature: float = 0.0
    max_tokens: int = 2048
    """Of the reply."""
    seed: int = 0
    schema: type[BaseModel] | None = None
    """The structure that is wanted; None for words."""

    def key(self, model: str, extra: Mapping[str, Any] | None = None) -> str:
        """A hash of all that the reply depends on, the same in every process and release.

        A picture counts by its digest and size, a structure by its names: its bounds are checked when the
        reply is read. What the request is for does not count: the same reply serves for two purposes.

        Args:
            model: the name under which the server knows it.
            extra: further fields of the request.

        Raises:
            MediaError: a picture cannot be read any more.
        """
        asked = {
            "model": model,
            "messages": self.messages,
            "temperature": float(self.temperature),
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "schema": None if self.schema is None else _outline(self.schema, frozenset()),
            "extra": dict(extra or {}),
        }
        text = json.dumps(asked, sort_keys=True, separators=(",", ":"), default=lambda url: _url(url).key)
        return hashlib.sha256(text.encode()).hexdigest()

    def parts(self) -> Iterator[Any]:
        """The parts of all messages: words as text, else as the protocol has them."""
        for message in self.messages:
            content = message.get("content")
            yield from content if isinstance(content, list | tuple) else [content or ""]

    @property
    def pictures(self) -> list[PictureUrl]:
        """The pictures that are encoded when the request is sent."""
        parts = (p for p in self.parts() if isinstance(p, Mapping) and p.get("type") == "image_url")
        return [url for p in parts if isinstance(url := p["image_url"]["url"], PictureUrl)]


def encode_body(body: Mapping[str, Any]) -> bytes:
    """The bytes of a request. Pictures are put in as they are: a data URL needs no escapes.

    Raises:
        MediaError: a picture cannot be read any more.
    """
    urls: list[PictureUrl] = []
    mark = uuid.uuid4().hex

    def put_off(url: Any) -> str:
        urls.append(_url(url))
        return mark

    first, *rest = json.dumps(body, default=put_off).encode().split(f'"{mark}"'.encode())
    pieces: list[bytes | memoryview] = [first]
    for url, piece in zip(urls, rest, strict=True):
        pieces += [b'"', url.content(), b'"', piece]
    return b"".join(pieces)


def _url(value: Any) -> PictureUrl:
    assert isinstance(value, PictureUrl), f"a {type(value).__name__} in a request"
    return value


def _outline(kind: type[BaseModel], above: frozenset[type[BaseModel]]) -> dict[str, Any]:
    """The names of a structure and of those within it."""
    inner = {
        name: _each(field.annotation, lambda k: _outline(k, above | {kind}), above | {kind})
        for name, field in kind.model_fields.items()
    }
    return {"name": kind.__name__, "fields": inner}


def _each(annotation: Any, outline: Callable[[type[BaseModel]], Any], above: frozenset[Any]) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [] if annotation in above else [outline(annotation)]
    return [found for inner in get_args(annotation) for found in _each(inner, outline, above)]
