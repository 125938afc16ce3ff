"""What an error of the client comes to, and how long is waited before another try."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pixelreasoner.endpoint.access import ServerConfig
from pixelreasoner.endpoint.failures import (
    EndpointError,
    RejectedRequestError,
    TooLongError,
    TryAgainError,
    backoff_s,
    failure,
)

openai = pytest.importorskip("openai")
httpx = pytest.importorskip("httpx2")

CONFIG = ServerConfig(url="http://localhost/v1", model="m", retry_wait_s=1.0, retry_max_wait_s=10.0)


def refusal(status: int, text: str = "no", headers: dict[str, str] | None = None, **error: Any) -> Exception:
    response = httpx.Response(status, headers=headers, request=httpx.Request("POST", CONFIG.url))
    body = {"message": text, **error}
    return failure(openai.APIStatusError(text, response=response, body=body), CONFIG, "judge.server")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RejectedRequestError), (413, RejectedRequestError), (422, RejectedRequestError),
     (401, EndpointError), (402, EndpointError), (403, EndpointError), (404, EndpointError),
     (408, TryAgainError), (409, TryAgainError), (429, TryAgainError), (500, TryAgainError),
     (503, TryAgainError), (529, TryAgainError)],
)  # fmt: skip
def test_statuses(status: int, kind: type[Exception]):
    assert type(refusal(status)) is kind


def test_an_empty_account_is_no_busy_server():
    ended = refusal(429, "You exceeded your current quota", code="insufficient_quota")
    assert isinstance(ended, EndpointError)
    assert isinstance(refusal(429, "slow down", code="rate_limit_exceeded"), TryAgainError)


@pytest.mark.parametrize(
    "text",
    ["openai/gpt-4o requires moderation. Your input was flagged for \"violence\".",
     "The request was rejected by the content filter", "blocked by our content policy",
     "stopped by the safety system"],
)  # fmt: skip
def test_a_single_picture_that_is_forbidden_does_not_end_the_run(text: str):
    assert type(refusal(403, text)) is RejectedRequestError
    assert isinstance(refusal(403, "this key may not use the model"), EndpointError)
    assert isinstance(refusal(401, text), EndpointError)


def test_what_every_request_gets_names_the_section_to_mend():
    assert "no key (judge.server.api_key_env names none)" in str(refusal(401))
    assert "mend the section judge.server of the recipe" in str(refusal(404))


def test_a_conversation_that_is_too_long_is_told_from_a_wrong_request():
    assert isinstance(refusal(400, "maximum context length is 10 tokens"), TooLongError)


@pytest.mark.parametrize(("header", "asked"), [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("86400", 600.0),
                                               ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)])  # fmt: skip
def test_the_wait_that_a_server_asks_for(header: str, asked: float):
    busy = refusal(429, headers={"retry-after": header})
    assert isinstance(busy, TryAgainError)
    assert busy.asked_s == asked


def test_waits_double_up_to_the_most_and_are_half_to_all_of_it():
    jitter = random.Random(0)
    waits = [[backoff_s(CONFIG, number, jitter) for _ in range(200)] for number in range(6)]
    for found, whole in zip(waits, (1, 2, 4, 8, 10, 10), strict=True):
        assert whole / 2 <= min(found) < 0.55 * whole
        assert 0.95 * whole < max(found) <= whole
    assert backoff_s(CONFIG, 10**6, jitter) <= 10
