"""What requests cost, and the budget that ends a run before it is overrun."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated

from pydantic import Field

from pixelreasoner.core.config import MAY_CHANGE, Config
from pixelreasoner.core.errors import PixelReasonerError


class OutOfBudgetError(PixelReasonerError):
    """The next request could cost more than is left."""


class Budget(Config):
    """What a run may spend, on all servers and in all its processes together; None for no limit."""

    usd: Annotated[float | None, Field(gt=0, le=1e9), MAY_CHANGE] = None
    """US dollars, by the prices of the servers."""
    tokens: Annotated[int | None, Field(ge=1, le=10**15), MAY_CHANGE] = None
    """Tokens of prompts and replies together."""


@dataclass(frozen=True)
class Spending:
    """What was asked and paid."""

    requests: int = 0
    """That were answered by a server."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    estimated: int = 0
    """Of the requests, those whose server said nothing of tokens: they are estimated from the text."""
    from_cache: int = 0
    """Requests whose reply was there already, and cost nothing."""
    failed_tries: int = 0
    """Tries that got no reply; what a server charges for them is not known."""

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Spending) -> Spending:
        return Spending(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def total(parts: Mapping[str, Spending]) -> Spending:
    """All purposes together."""
    return sum(parts.values(), Spending())


@dataclass
class Reserve:
    """What a request under way may cost at most."""

    tokens: int
    usd: float


class Ledger:
    """Counts what is spent, by purpose; one for all servers of a run, in one event loop."""

    def __init__(self, budget: Budget | None = None, before: Mapping[str, Spending] | None = None) -> None:
        """A ledger.

        Args:
            budget: None for no limit.
            before: what earlier processes of the run have spent (`ResponseCache.totals`); it counts.
        """
        self.budget = budget or Budget()
        self.before: dict[str, Spending] = dict(before or {})
        self.now: dict[str, Spending] = {}
        """Spent by this process, by purpose."""
        self._under_way = Reserve(0, 0.0)
        self._n_under_way = 0
        self._freed = asyncio.Event()

    @property
    def spent(self) -> dict[str, Spending]:
        """By this process and those before, by purpose."""
        found: dict[str, Spending] = defaultdict(Spending)
        for part in (self.before, self.now):
            for purpose, spending in part.items():
                found[purpose] += spending
        return dict(found)

    async def reserve(self, tokens: int, usd: float) -> Reserve:
        """Set aside what a request may cost at most; waits while others under way may leave enough of theirs.

        Args:
            tokens: of prompt and reply.
            usd: US dollars.

        Raises:
            OutOfBudgetError: nothing is under way, and the request could go over the budget.
        """
        wanted = Reserve(tokens, usd)
        while not self._fits(wanted):
            if not self._n_under_way:
                raise self._out_of_budget(wanted)
            self._freed.clear()
            await self._freed.wait()
        self._under_way = Reserve(self._under_way.tokens + tokens, self._under_way.usd + usd)
        self._n_under_way += 1
        return wanted

    def settle(self, reserve: Reserve) -> None:
        """Give a reserve back; what was spent in its place is on record by `add`."""
        self._n_under_way -= 1
        left = self._under_way
        self._under_way = Reserve(left.tokens - reserve.tokens, left.usd - reserve.usd)
        if not self._n_under_way:
            self._under_way = Reserve(0, 0.0)  # no rest of rounding
        self._freed.set()

    def add(self, purpose: str, spending: Spending) -> None:
        """Count what was spent."""
        self.now[purpose] = self.now.get(purpose, Spending()) + spending

    def _fits(self, wanted: Reserve) -> bool:
        spent, budget = total(self.spent), self.budget
        tokens = spent.tokens + self._under_way.tokens + wanted.tokens
        usd = spent.usd + self._under_way.usd + wanted.usd
        return (budget.tokens is None or tokens <= budget.tokens) and (
            budget.usd is None or usd <= budget.usd
        )

    def _out_of_budget(self, wanted: Reserve) -> OutOfBudgetError:
        spent, budget = total(self.spent), self.budget
        if budget.tokens is not None and spent.tokens + wanted.tokens > budget.tokens:
            said = (
                f"{spent.tokens:,} of {budget.tokens:,} tokens are spent, and the next request may take "
                f"{wanted.tokens:,}; raise budget.tokens"
            )
        else:
            said = (
                f"{spent.usd:.4f} of {budget.usd:g} US dollars are spent, and the next request may cost "
                f"{wanted.usd:.4f}; raise budget.usd"
            )
        return OutOfBudgetError(f"{said} and go on with --resume")
