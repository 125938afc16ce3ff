"""Asks a server: the cache where the reply is known, else within limits and budget, with further tries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

from pydantic import BaseModel

from pixelreasoner.endpoint.access import PaidServerConfig
from pixelreasoner.endpoint.cache import CachedReply, ResponseCache, spending_of
from pixelreasoner.endpoint.estimates import PromptEstimate, text_tokens
from pixelreasoner.endpoint.failures import (
    EndpointError,
    RejectedRequestError,
    RequestFailedError,
    TooLongError,
    TryAgainError,
    UnusableReplyError,
    backoff_s,
    one_line,
)
from pixelreasoner.endpoint.ledger import Ledger, Spending
from pixelreasoner.endpoint.limits import Clock, RateLimits, SystemClock
from pixelreasoner.endpoint.reply import Reply
from pixelreasoner.endpoint.requests import ChatRequest
from pixelreasoner.endpoint.structure import MEND, read_structure
from pixelreasoner.endpoint.transport import Transport, body_of

M = TypeVar("M", bound=BaseModel)
P = ParamSpec("P")
R = TypeVar("R")
SEED_STEP = 1_000_003
"""From the seed of a try to that of the next one."""
OTHER_TEMPERATURE = 0.7
"""At least, where a refused or cut reply is asked for again: at 0 the same one would come."""
REFUSAL = "refusal"
CUT = "length"
PATIENCE = 8
"""Requests, beside one for each place, that may go without a reply before the server is given up."""
HELD_BACK = "content_filter"


class Asker:
    """One server; for one event loop.

    Equal requests are made once, also those that are under way together. A reply is on disk before it is
    handed out.
    """

    def __init__(
        self,
        config: PaidServerConfig,
        cache: ResponseCache,
        ledger: Ledger,
        *,
        section: str = "endpoint",
        clock: Clock | None = None,
    ) -> None:
        """An asker; nothing is sent yet.

        Args:
            config: where the server is, its limits and prices.
            cache: of replies; stays open.
            ledger: of the whole run.
            section: of the recipe that has `config`, as messages name it.
            clock: None for the machine's.

        Raises:
            MissingExtraError: the package openai is not installed.
            ConfigError: the variable for the key is not set.
        """
        clock = clock or SystemClock()
        self._config, self._cache, self._ledger, self._clock = config, cache, ledger, clock
        self._section = section
        self._transport = Transport(config, section, "Asking a server")
        self._limits = RateLimits(config, clock)
        self._places = asyncio.Semaphore(config.concurrency)
        self._estimate = PromptEstimate()
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._n_answered = self._n_rejected = self._n_failed = 0

    async def text(self, request: ChatRequest) -> str:
        """The words of a reply.

        Raises:
            UnusableReplyError: the reply is of no use.
            RequestFailedError: no try got a reply.
            EndpointError: the server refuses all requests, or answers none.
            OutOfBudgetError: the request could go over the budget.
            MediaError: a picture cannot be read any more.
        """
        return _words(await self._reply(request))

    async def structured(self, request: ChatRequest, kind: type[M], *, tries: int = 3) -> M:
        """A structure as the reply.

        One that is of no use is asked for again, with another seed; the model is told what is wrong with it.

        Args:
            request: the structure is put into it.
            kind: the structure.
            tries: replies at most.

        Raises:
            UnusableReplyError: the last reply is of no use, or the server takes no such request.
            RequestFailedError, EndpointError, OutOfBudgetError, MediaError: as `text`.
        """
        asked = replace(request, schema=kind)
        for number in range(1, tries + 1):
            reply = await self._reply(asked)
            try:
                return read_structure(_words(reply), kind)
            except UnusableReplyError as e:
                if number == tries:
                    raise
                asked = _again(replace(asked, seed=request.seed + number * SEED_STEP), request, reply, e)
        raise AssertionError("at least one try")

    @property
    def n_under_way(self) -> int:
        """Requests that wait for a place or for their reply."""
        return len(self._under_way)

    async def close(self) -> None:
        """End the connections. Requests under way should have ended or been cancelled."""
        await self._transport.close()

    async def _reply(self, request: ChatRequest) -> CachedReply:
        """The reply to a request, from the cache or from the server."""
        key = await _aside(request, request.key, self._config.model, self._config.extra)
        while True:
            if (kept := self._cache.get(key)) is not None:
                self._ledger.add(request.purpose, Spending(from_cache=1))
                return kept
            if (other := self._under_way.get(key)) is None:
                break
            await asyncio.wait([other])
        under_way = self._under_way[key] = asyncio.get_running_loop().create_future()
        config = self._config
        try:
            # Before there is a place: none is taken while pictures are encoded.
            body = await _aside(request, body_of, request, config.model, config.json_schema, config.extra)
            async with self._places:
                reply = await self._paid(request, body, random.Random(key))
            self._n_answered, self._n_failed = self._n_answered + 1, 0
            self._cache.put(key, reply, request.purpose)
            self._ledger.add(request.purpose, spending_of(reply))
            return reply
        except TooLongError as e:
            raise UnusableReplyError("too_long", str(e)) from e
        except RejectedRequestError as e:
            self._n_rejected += 1
            self._see_that_some_are_answered(e)
            raise UnusableReplyError("rejected_request", str(e)) from e
        except RequestFailedError as e:
            self._n_failed += 1
            self._see_that_some_are_answered(e)
            raise
        finally:
            del self._under_way[key]
            under_way.set_result(None)

    def _see_that_some_are_answered(self, error: RequestFailedError) -> None:
        """Look at a request without a reply. Where no request gets one, other ones need not be tried.

        Raises:
            EndpointError: none of the first ones was answered, or none of the last that were not rejected.
        """
        n = self._n_failed if self._n_answered else self._n_failed + self._n_rejected
        # Failures come sooner than replies: each place may have one before the first reply is there.
        if n >= PATIENCE + self._config.concurrency:
            raise EndpointError(
                f"{self._config.url} has answered none of {n} requests: {error}; see whether it is up, or "
                f"mend the section {self._section} of the recipe (json_schema, extra: what is sent), and "
                f"go on with --resume"
            ) from error

    async def _paid(self, request: ChatRequest, body: bytes, jitter: random.Random) -> CachedReply:
        """The reply of the server, within limits and budget."""
        prompt = self._estimate.of(request)
        tokens = prompt + request.max_tokens
        reserve = await self._ledger.reserve(tokens, self._config.usd(prompt, request.max_tokens))
        try:
            return await self._tried(request, body, tokens, jitter)
        finally:
            self._ledger.settle(reserve)

    async def _tried(
        self, request: ChatRequest, body: bytes, tokens: int, jitter: random.Random
    ) -> CachedReply:
        """The reply of the first try that gets one."""
        config = self._config
        for number in range(config.retries + 1):
            await self._limits.begin(tokens)
            used = 0
            try:
                reply = self._counted(request, await self._transport.send(body))
                used = reply.prompt_tokens + reply.completion_tokens
                return reply
            except TryAgainError as e:
                self._ledger.add(request.purpose, Spending(failed_tries=1))
                if number == config.retries:
                    tried = f" ({number + 1} tries)" if number else ""
                    raise RequestFailedError(f"{e}{tried}") from e
                wait_s = max(backoff_s(config, number, jitter), e.asked_s)
                self._limits.pause(e.asked_s)
            finally:
                self._limits.end(tokens, used)
            await self._clock.sleep(wait_s)
        raise AssertionError("a loop that returns or raises")

    def _counted(self, request: ChatRequest, reply: Reply) -> CachedReply:
        """A reply with what it cost."""
        refused = reply.refusal and not reply.content
        text = reply.refusal if refused else reply.content
        prompt, completion = reply.prompt_tokens, reply.completion_tokens
        if estimated := not prompt:
            prompt = self._estimate.of(request)
            completion = completion or text_tokens(reply.reasoning + text)
        else:
            self._estimate.learn(request, prompt)
        return CachedReply(
            text=text,
            finish=REFUSAL if refused else reply.finish,
            prompt_tokens=prompt,
            completion_tokens=completion,
            usd=self._config.usd(prompt, completion),
            model=self._config.model,
            estimated=estimated,
        )


async def _aside(request: ChatRequest, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of some work about a request; the event loop goes on where it has pictures to look at."""
    return await asyncio.to_thread(work, *args, **kwargs) if request.pictures else work(*args, **kwargs)


def _words(reply: CachedReply) -> str:
    if reply.finish in (REFUSAL, HELD_BACK):
        raise UnusableReplyError("refused", one_line(reply.text) or "the server held the reply back")
    if reply.finish == CUT:
        raise UnusableReplyError("truncated", f"cut after {reply.completion_tokens} tokens")
    if not reply.text.strip():
        raise UnusableReplyError("invalid", "the reply is empty")
    return reply.text


def _again(
    asked: ChatRequest, first: ChatRequest, reply: CachedReply, error: UnusableReplyError
) -> ChatRequest:
    """The request after a reply of no use: what is wrong with a structure is said, else chance may help."""
    if error.reason in ("refused", "truncated") or not reply.text.strip():
        temperature = max(first.temperature, OTHER_TEMPERATURE)
        return replace(asked, messages=first.messages, temperature=temperature)
    said = [
        {"role": "assistant", "content": reply.text},
        {"role": "user", "content": MEND.format(problem=error.detail)},
    ]
    return replace(asked, messages=(*first.messages, *said), temperature=first.temperature)
