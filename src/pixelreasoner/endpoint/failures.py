"""What can go wrong with a request, and which of it another try may mend."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.endpoint.access import ServerConfig

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAIError

REFUSED = (401, 402, 403, 404)
"""Statuses that every other request would get too: a wrong key, an empty account, or no such model."""
RETRIED = (408, 409, 425, 429)
"""Statuses after which a request is tried again, beside those from 500 on."""
NO_QUOTA = "insufficient_quota"
"""The code of a status 429 that no waiting mends."""
FORBIDDEN = 403
MODERATED = re.compile(r"moderat|flagged|content[ _-](?:polic|filter)|safety", re.IGNORECASE)
"""In the words of a server that forbids this one request, not all that come with the key."""
TOO_LONG = re.compile(r"context[ _]length|context window", re.IGNORECASE)
"""In the words of a server whose model cannot read so long a conversation."""
MOST_ASKED_S = 600.0
"""The longest wait that a server may ask for."""
SEED_BITS = 31
"""Of a seed, as all servers take it."""

Unusable = Literal["refused", "truncated", "not_json", "invalid", "too_long", "rejected_request"]
"""Why a reply is of no use. refused: the model would not. truncated: it was cut at the limit of tokens.
not_json, invalid: it holds no JSON, or not the structure that was asked for. too_long, rejected_request: the
server takes no such request."""


class EndpointError(PixelReasonerError):
    """A server that cannot be asked, or that did not answer everything."""


class RequestFailedError(Exception):
    """A request that got no usable reply; the text says why."""


class RejectedRequestError(RequestFailedError):
    """A request that the server takes for wrong, and would again."""


class TooLongError(Exception):
    """The conversation is longer than what the model can read, as the server says."""


class UnusableReplyError(Exception):
    """A request that was answered, and whose answer is of no use."""

    def __init__(self, reason: Unusable, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Unusable = reason
        self.detail = detail
        """For people: one line."""


class TryAgainError(Exception):
    """A try without a reply, after which another one may get it."""

    def __init__(self, text: str, asked_s: float = 0.0) -> None:
        super().__init__(text)
        self.asked_s = asked_s
        """Seconds that the server asks to wait."""

    @classmethod
    def late(cls, config: ServerConfig) -> Self:
        """Of a reply that did not come in time."""
        return cls(f"no reply in {config.timeout_s:g} s")


def failure(error: OpenAIError, config: ServerConfig, section: str) -> Exception:
    """What an error of the client comes to.

    Args:
        error: of the package openai.
        config: of the server.
        section: of the recipe that has `config`, as messages name it.

    Returns:
        A TryAgainError where another try may help, else an EndpointError, a TooLongError or a
        RejectedRequestError; to be raised.
    """
    import openai

    if isinstance(error, openai.APIStatusError):
        return _refusal(error, config, section)
    if isinstance(error, openai.APITimeoutError):
        return TryAgainError.late(config)
    if isinstance(error, openai.APIConnectionError):
        return TryAgainError(f"no connection: {one_line(str(error.__cause__ or error))}")
    return error


def backoff_s(config: ServerConfig, number: int, jitter: random.Random) -> float:
    """Seconds before another try.

    Args:
        config: the waits.
        number: of tries that failed before this one.
        jitter: half to all of the wait is by chance.
    """
    whole = min(config.retry_wait_s * 2.0 ** min(number, 32), config.retry_max_wait_s)
    return whole * (0.5 + jitter.random() / 2)


def one_line(text: str) -> str:
    """The words of a server, as a message can hold them."""
    return " ".join(text.split())[:500]


def _refusal(error: APIStatusError, config: ServerConfig, section: str) -> Exception:
    status = error.status_code
    text = one_line(error.message).removeprefix(f"Error code: {status} - ")
    if status == FORBIDDEN and MODERATED.search(text):
        return RejectedRequestError(f"status {status}: {text}")
    if status in REFUSED or (status == 429 and _code(error) == NO_QUOTA):
        key = config.api_key_env
        sent = f"the key in {key}" if key else f"no key ({section}.api_key_env names none)"
        return EndpointError(
            f"{config.url} refuses requests for the model '{config.model}' with {sent}: "
            f"status {status}: {text}; mend the section {section} of the recipe"
        )
    if status in RETRIED or status >= 500:
        return TryAgainError(f"status {status}: {text}", _asked_s(error.response.headers.get("retry-after")))
    if TOO_LONG.search(text):
        return TooLongError(text)
    return RejectedRequestError(f"status {status}: {text}")


def _code(error: APIStatusError) -> Any:
    body = error.body
    return cast(dict[str, Any], body).get("code") if isinstance(body, dict) else None


def _asked_s(header: str | None) -> float:
    """The seconds of a Retry-After header; 0 where it gives none, or a date."""
    try:
        return min(max(float(header or 0), 0.0), MOST_ASKED_S)
    except ValueError:
        return 0.0
