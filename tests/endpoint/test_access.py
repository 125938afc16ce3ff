"""Sections of recipes about servers."""

from __future__ import annotations

import pytest

from pixelreasoner.core.config import differences
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.endpoint.access import PaidServerConfig, ServerConfig, api_key

URL = "http://localhost:8000/v1"


def test_a_request_costs_its_tokens_at_their_prices():
    prices = {"usd_per_million_prompt_tokens": 2.5, "usd_per_million_completion_tokens": 10.0}
    config = PaidServerConfig(url=URL, model="m", **prices)
    assert config.usd(1000, 200) == pytest.approx(0.0025 + 0.002)
    assert PaidServerConfig(url=URL, model="m").usd(1000, 200) == 0


def test_the_key_is_that_of_the_variable(monkeypatch: pytest.MonkeyPatch):
    config = ServerConfig(url=URL, model="m", api_key_env="MY_KEY")
    monkeypatch.setenv("MY_KEY", "secret")
    assert api_key(config, "teacher.server") == "secret"
    assert api_key(ServerConfig(url=URL, model="m"), "teacher.server") == "none"
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ConfigError, match=r"teacher\.server\.api_key_env: .*MY_KEY is not set"):
        api_key(config, "teacher.server")


def test_an_address_needs_its_protocol():
    with pytest.raises(ConfigError, match="http://"):
        ServerConfig(url="localhost:8000", model="m")


def test_a_run_goes_on_with_another_address_limits_and_prices_but_not_with_another_model():
    before = PaidServerConfig(url=URL, model="m")
    now = PaidServerConfig(
        url="https://other/v1", model="n", api_key_env="K", concurrency=2, requests_per_minute=60,
        tokens_per_minute=1000, usd_per_million_prompt_tokens=1.0, json_schema="none", extra={"top_k": 1},
    )  # fmt: skip
    assert {d.key for d in differences(before, now) if not d.may_change} == {"model", "extra"}
