"""How many tokens a request takes, before a server says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixelreasoner.core.geometry import Size
from pixelreasoner.endpoint.requests import ChatRequest

BYTES_PER_TOKEN = 4
"""Of text in UTF-8; the next replies correct it."""
PIXELS_PER_TOKEN = 28 * 28
"""Of pictures, as Qwen2.5-VL reads them."""
UNKNOWN_PICTURE = 1024
"""Tokens of a picture that is given as an address."""
PER_MESSAGE = 4
"""Tokens around a message."""
WEIGHT = 0.1
"""Of a new reply in the running ratio."""


def text_tokens(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def picture_tokens(size: Size) -> int:
    """About how many tokens a picture has."""
    return -(-size.width * size.height // PIXELS_PER_TOKEN)


class PromptEstimate:
    """Tokens of prompts, by what the server said of earlier ones; for one server."""

    def __init__(self) -> None:
        self._ratio: float | None = None

    def of(self, request: ChatRequest) -> int:
        """About how many tokens the prompt of a request has."""
        return max(round(_counted(request) * (self._ratio or 1.0)), 1)

    def learn(self, request: ChatRequest, prompt_tokens: int) -> None:
        """Take note of what the server counted."""
        ratio = prompt_tokens / _counted(request)
        self._ratio = ratio if self._ratio is None else (1 - WEIGHT) * self._ratio + WEIGHT * ratio


def _counted(request: ChatRequest) -> int:
    pictures = sum(picture_tokens(url.size) for url in request.pictures)
    return pictures + sum(map(_part_tokens, request.parts())) + PER_MESSAGE * len(request.messages)


def _part_tokens(part: Any) -> int:
    if isinstance(part, str):
        return text_tokens(part)
    if isinstance(part, Mapping):
        if part.get("type") == "image_url":
            return UNKNOWN_PICTURE if isinstance(part["image_url"]["url"], str) else 0
        return text_tokens(str(part.get("text", "")))
    return 0
