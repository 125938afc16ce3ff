"""An asker of a scripted server on this machine, for the tests of the stages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from benchmarks.chat_server import Answer, Body, ChatServer, serving
from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.asker import Asker
from pixelreasoner.endpoint.cache import MemoryCache
from pixelreasoner.endpoint.ledger import Budget, Ledger

R = TypeVar("R")


def server_config(url: str, **changes: Any) -> PaidServerConfig:
    given = {"url": url, "model": "m", "retry_wait_s": 0.001, "timeout_s": 20.0}
    return PaidServerConfig.model_validate({**given, **changes})


def asked(
    script: Callable[[Body], Answer], use: Callable[[Asker, ChatServer], Awaitable[R]], **changes: Any
) -> R:
    """What `use` gives, with an asker of a server that answers by `script`."""

    async def run(server: ChatServer) -> R:
        asker = Asker(server_config(server.url, **changes), MemoryCache(), Ledger(Budget(), {}))
        try:
            return await use(asker, server)
        finally:
            await asker.close()

    with serving(script) as server:
        return asyncio.run(run(server))
