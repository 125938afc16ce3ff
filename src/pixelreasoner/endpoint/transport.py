"""One request to a server and its reply, without blocking the event loop: no further try, no count."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pixelreasoner.core.errors import MissingExtraError
from pixelreasoner.endpoint.access import ServerConfig, api_key
from pixelreasoner.endpoint.failures import SEED_BITS, TryAgainError, failure
from pixelreasoner.endpoint.reply import BrokenReplyError, Reply, read_body
from pixelreasoner.endpoint.requests import ChatRequest, encode_body
from pixelreasoner.endpoint.structure import Mode, response_format, with_words

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PATH = "/chat/completions"
OVER_THE_LIMIT_S = 5.0
"""What the client itself waits beyond the time-out: ours is of the whole reply, its own of each part."""


class Transport:
    """A connection to a server; for one event loop."""

    def __init__(self, config: ServerConfig, section: str, purpose: str) -> None:
        """A connection; nothing is sent yet.

        Raises:
            MissingExtraError: the package openai is not installed.
            ConfigError: the variable for the key is not set.
        """
        self._config = config
        self._section = section
        self._openai = _client(config, section, purpose)

    async def send(self, body: bytes) -> Reply:
        """The reply to one try.

        Raises:
            TryAgainError: there is none, and another try may get it.
            TooLongError, RejectedRequestError: the server takes no such request.
            EndpointError: it refuses all requests.
        """
        import httpx2
        import openai

        try:
            async with asyncio.timeout(self._config.timeout_s):
                # The bytes of request and reply: a megabyte of picture is not gone through again.
                raw = await self._openai.post(PATH, cast_to=httpx2.Response, content=body)
            return read_body(raw.content)
        except openai.OpenAIError as e:
            raise failure(e, self._config, self._section) from e
        except TimeoutError as e:
            raise TryAgainError.late(self._config) from e
        except BrokenReplyError as e:
            raise TryAgainError(str(e)) from e

    async def close(self) -> None:
        """End the connections."""
        await self._openai.close()


def body_of(request: ChatRequest, model: str, mode: Mode, extra: Mapping[str, Any]) -> bytes:
    """A request as it is sent; the fields of `extra` win.

    Raises:
        MediaError: a picture cannot be read any more.
    """
    messages = list(request.messages)
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "temperature": request.temperature,
        "max_completion_tokens": request.max_tokens,
        "seed": request.seed & (2**SEED_BITS - 1),
    }
    if request.schema is not None:
        if mode != "strict":
            body["messages"] = with_words(messages, request.schema)
        if (wanted := response_format(request.schema, mode)) is not None:
            body["response_format"] = wanted
    return encode_body(body | dict(extra))


def _client(config: ServerConfig, section: str, purpose: str) -> AsyncOpenAI:
    try:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient
    except ModuleNotFoundError as e:
        raise MissingExtraError("openai", "endpoint", purpose) from e
    key = api_key(config, section)
    import httpx2

    # Each place keeps its connection; the client's own limits would have most of many made anew.
    n = config.concurrency
    limits = httpx2.Limits(max_connections=n, max_keepalive_connections=n)
    timeout_s = config.timeout_s + OVER_THE_LIMIT_S
    return AsyncOpenAI(
        base_url=config.url,
        api_key=key,
        timeout=timeout_s,
        max_retries=0,
        http_client=DefaultAsyncHttpxClient(limits=limits, timeout=timeout_s),
    )
