"""Several requests together, of which none outlives the others' failure."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


async def concurrently(*started: Coroutine[Any, Any, R]) -> list[R]:
    """The results in order. What one raises first is raised, once all others have been cancelled."""
    tasks = [asyncio.ensure_future(one) for one in started]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
