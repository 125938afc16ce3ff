"""Requests to a chat endpoint: with further tries where they may help, and without where they cannot."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, Any

from pixelreasoner.core.errors import ConfigError, MissingExtraError, PixelReasonerError
from pixelreasoner.evals.endpoint.config import EndpointConfig
from pixelreasoner.evals.endpoint.messages import BrokenReplyError, ChatMessage, Reply, Tools, read_reply
from pixelreasoner.policy.base import Sampling

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAI

REFUSED = (401, 403, 404)
"""Statuses that every other request would get too: a wrong key, or no such model."""
RETRIED = (408, 409, 425, 429)
"""Statuses after which a request is tried again, beside those from 500 on."""
TOO_LONG = re.compile(r"context[ _]length|context window", re.IGNORECASE)
"""In the words of a server whose model cannot read so long a conversation."""
MOST_ASKED_S = 600.0
"""The longest wait that a server may ask for."""
SEED_BITS = 31
"""Of a seed, as all servers take it."""


class EndpointError(PixelReasonerError):
    """A server that cannot be asked, or that did not answer everything."""


class RequestFailedError(Exception):
    """A request that got no usable reply; the text says why."""


class TooLongError(Exception):
    """The conversation is longer than what the model can read, as the server says."""


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
            except _TryAgain as e:
                if self._stop.is_set():
                    raise Stopped from e
                if number + 1 == tries:
                    raise RequestFailedError(f"{e} ({tries} tries)" if tries > 1 else str(e)) from e
                wait_s = max(self._backoff_s(number, jitter), e.asked_s)
        raise AssertionError("a loop that returns or raises")

    def close(self) -> None:
        """Make no other try, and end the connections."""
        self._stop.set()
        self._openai.close()

    def _backoff_s(self, number: int, jitter: random.Random) -> float:
        whole = min(self._config.retry_wait_s * 2.0 ** min(number, 32), self._config.retry_max_wait_s)
        return whole * (0.5 + jitter.random() / 2)

    def _asked(self, body: dict[str, Any]) -> Reply:
        """The reply to one try."""
        import openai

        try:
            # The raw reply: fields that the protocol does not know are wanted too.
            raw = self._openai.chat.completions.with_raw_response.create(**body, extra_body=self._extra)
            return read_reply(json.loads(raw.content))
        except openai.APIStatusError as e:
            raise self._refusal(e) from e
        except openai.APITimeoutError as e:
            raise _TryAgain(f"no reply in {self._config.timeout_s:g} s") from e
        except openai.APIConnectionError as e:
            raise _TryAgain(f"no connection: {e.__cause__ or e}") from e
        except (json.JSONDecodeError, UnicodeDecodeError) as e:
            raise _TryAgain(f"the reply is not JSON ({e})") from e
        except BrokenReplyError as e:
            raise _TryAgain(str(e)) from e

    def _refusal(self, error: APIStatusError) -> Exception:
        """What an error status comes to."""
        status, text = error.status_code, _one_line(error.message)
        if status in RETRIED or status >= 500:
            return _TryAgain(f"status {status}: {text}", _asked_s(error.response.headers.get("retry-after")))
        if status in REFUSED:
            key = self._config.api_key_env
            sent = f"the key in {key}" if key else "no key (endpoint.api_key_env names none)"
            return EndpointError(
                f"{self._config.url} refuses requests for the model '{self._config.model}' with {sent}: "
                f"status {status}: {text}; mend the section endpoint of the recipe"
            )
        if TOO_LONG.search(text):
            return TooLongError(text)
        return RequestFailedError(f"status {status}: {text}")


class _TryAgain(Exception):
    """A try without a reply, after which another one may get it."""

    def __init__(self, text: str, asked_s: float = 0.0) -> None:
        super().__init__(text)
        self.asked_s = asked_s
        """Seconds that the server asks to wait."""


def _client(config: EndpointConfig) -> OpenAI:
    try:
        from openai import OpenAI
    except ModuleNotFoundError as e:
        raise MissingExtraError("openai", "endpoint", "Evaluating a served model") from e
    key = "none"
    if config.api_key_env is not None:
        key = os.environ.get(config.api_key_env, "")
        if not key:
            raise ConfigError(
                f"endpoint.api_key_env: the environment variable {config.api_key_env} is not set; "
                f"put the server's key into it"
            )
    return OpenAI(base_url=config.url, api_key=key, timeout=config.timeout_s, max_retries=0)


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


def _asked_s(header: str | None) -> float:
    """The seconds of a Retry-After header; 0 where it gives none, or a date."""
    try:
        return min(max(float(header or 0), 0.0), MOST_ASKED_S)
    except ValueError:
        return 0.0


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
