"""Where a server is, how it is asked, and what it costs: sections of recipes."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from pixelreasoner.core.config import MAY_CHANGE, Config, Count, CountOrZero, Options
from pixelreasoner.core.errors import ConfigError

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Dollars = Annotated[float, Field(ge=0, le=1e9)]
NO_KEY = "none"
"""In place of a key: the client insists on one, and servers of one's own look at none."""


class ServerConfig(Config):
    """A server that speaks OpenAI's chat protocol, as vLLM and SGLang do; needs the extra `endpoint`."""

    url: Annotated[str, MAY_CHANGE]
    """Of the server, up to its version: `http://localhost:8000/v1`."""
    model: str
    """The name under which the server knows it."""
    api_key_env: Annotated[str | None, MAY_CHANGE] = None
    """The environment variable that holds the key; None sends none. The key itself is never in a recipe."""
    concurrency: Annotated[int, Field(ge=1, le=1024), MAY_CHANGE] = 16
    """Requests under way together."""
    timeout_s: Annotated[Seconds, MAY_CHANGE] = 600.0
    """Seconds for one reply."""
    retries: Annotated[CountOrZero, MAY_CHANGE] = 5
    """Further tries of a request that met a busy or broken server, a timeout, or an unreadable reply."""
    retry_wait_s: Annotated[Seconds, MAY_CHANGE] = 1.0
    """Seconds before the first further try, half to all of it by chance; it doubles from try to try. What the
    server asks for (Retry-After) is waited at least."""
    retry_max_wait_s: Annotated[Seconds, MAY_CHANGE] = 60.0
    """The most seconds before a further try."""
    extra: Options = Field(default_factory=dict[str, Any])
    """Further fields of each request, as the server documents them (`top_k`, `chat_template_kwargs`)."""

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("give an address that begins with http:// or https://")
        return url


class PaidServerConfig(ServerConfig):
    """A server with its limits and prices. Without prices, requests are counted and cost nothing."""

    requests_per_minute: Annotated[Count | None, MAY_CHANGE] = None
    """The most requests that are begun in a minute, evenly; None for no limit."""
    tokens_per_minute: Annotated[Count | None, MAY_CHANGE] = None
    """The most tokens in a minute, of prompts and replies together; None for no limit."""
    usd_per_million_prompt_tokens: Annotated[Dollars, MAY_CHANGE] = 0.0
    """What a million tokens of prompts costs, in US dollars."""
    usd_per_million_completion_tokens: Annotated[Dollars, MAY_CHANGE] = 0.0
    """What a million tokens of replies costs, in US dollars."""
    json_schema: Annotated[Literal["strict", "object", "none"], MAY_CHANGE] = "strict"
    """How a structure is asked for. strict: the server holds the reply to the schema (`json_schema`). object:
    it holds it to be JSON (`json_object`), the schema is in words. none: all is in words; any server does."""

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What a request costs, in US dollars."""
        prompt = prompt_tokens * self.usd_per_million_prompt_tokens
        return (prompt + completion_tokens * self.usd_per_million_completion_tokens) / 1e6


def api_key(config: ServerConfig, section: str) -> str:
    """The key of a server.

    Args:
        config: where the server is.
        section: of the recipe, as messages name it.

    Raises:
        ConfigError: the variable for the key is not set.
    """
    if config.api_key_env is None:
        return NO_KEY
    if key := os.environ.get(config.api_key_env, ""):
        return key
    raise ConfigError(
        f"{section}.api_key_env: the environment variable {config.api_key_env} is not set; "
        f"put the server's key into it"
    )
