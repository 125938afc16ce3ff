"""Requests to a chat endpoint: with further tries where they may help, and without where they cannot."""

from __future__ import annotations

import random
from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, Any

from pixelreasoner.core.errors import MissingExtraError
from pixelreasoner.endpoint.access import api_key
from pixelreasoner.endpoint.failures import (
    SEED_BITS,
    RequestFailedError,
    TryAgainError,
    backoff_s,
    failure,
)
from pixelreasoner.endpoint.reply import BrokenReplyError, Reply, read_body
from pixelreasoner.endpoint.requests import ChatMessage
from pixelreasoner.evals.endpoint.config import EndpointConfig
from pixelreasoner.evals.endpoint.messages import Tools
from pixelreasoner.policy.base import Sampling

if TYPE_CHECKING:
    from openai import OpenAI

SECTION = "endpoint"
"""Of a recipe, as messages name it."""


class Stopped(Exception):
    """The run ends: no other try is made."""


class ChatClient:
    """A chat endpoint; for many threads."""

    def __init__(self, config: EndpointConfig, *, thinking: str | None = None) -> None:
        """A client; nothing is sent yet.

        Args:
            config: where the server is, and how patient to be.
            thinking: "on" or "off", the switch of the model's chat template; None leaves it as it is.

        Raises:
            MissingExtraError: the package openai is not installed.
            ConfigError: the variable for the key is not set.
        """
        self._config = config
        self._openai = _client(config)
        self._stop = Event()
        self._extra = dict(config.extra)
        if thinking is not None:
            options = {"enable_thinking": thinking == "on"} | self._extra.get("chat_template_kwargs", {})
            self._extra["chat_template_kwargs"] = options

    def complete(self, messages: Sequence[ChatMessage], tools: Tools, sampling: Sampling, seed: int) -> Reply:
        """The next message of a conversation; `tools` are offered natively.

        Raises:
            TooLongError: the model cannot read so much.
            RequestFailedError: no try got a reply that can be read.
            EndpointError: the server refuses all requests.
            Stopped: `close` was called meanwhile.
        """
        body = _body(self._config.model, messages, tools, sampling, seed)
        jitter = random.Random(seed)
        tries = self._config.retries + 1
        wait_s = 0.0
        for number in range(tries):
            if self._stop.wait(wait_s) if wait_s else self._stop.is_set():
                raise Stopped
            try:
                return self._asked(body)
            except TryAgainError as e:
                if self._stop.is_set():
                    raise Stopped from e
                if number + 1 == tries:
                    raise RequestFailedError(f"{e} ({tries} tries)" if tries > 1 else str(e)) from e
                wait_s = max(backoff_s(self._config, number, jitter), e.asked_s)
        raise AssertionError("a loop that returns or raises")

    def close(self) -> None:
        """Make no other try, and end the connections."""
        self._stop.set()
        self._openai.close()

    def _asked(self, body: dict[str, Any]) -> Reply:
        """The reply to one try."""
        import openai

        try:
            # The raw reply: fields that the protocol does not know are wanted too.
            raw = self._openai.chat.completions.with_raw_response.create(**body, extra_body=self._extra)
            return read_body(raw.content)
        except openai.OpenAIError as e:
            raise failure(e, self._config, SECTION) from e
        except BrokenReplyError as e:
            raise TryAgainError(str(e)) from e


def _client(config: EndpointConfig) -> OpenAI:
    try:
        from openai import OpenAI
    except ModuleNotFoundError as e:
        raise MissingExtraError("openai", "endpoint", "Evaluating a served model") from e
    return OpenAI(
        base_url=config.url, api_key=api_key(config, SECTION), timeout=config.timeout_s, max_retries=0
    )


def _body(
    model: str, messages: Sequence[ChatMessage], tools: Tools, sampling: Sampling, seed: int
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": list(messages),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_completion_tokens": sampling.max_tokens,
        "seed": seed & (2**SEED_BITS - 1),
    }
    return body | {"tools": list(tools)} if tools else body
