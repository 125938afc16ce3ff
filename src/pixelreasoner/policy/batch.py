"""An engine over anything that completes a batch of requests at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pixelreasoner.policy.base import Completion, CompletionRequest, OnToken

CompleteBatch = Callable[[Sequence[CompletionRequest], OnToken | None], list[Completion]]
"""One completion per request, in order; called with the index of the request and the token as they come."""


class BatchEngine:
    """Each step completes everything that was submitted before it."""

    def __init__(self, complete_batch: CompleteBatch, on_token: OnToken | None = None) -> None:
        self._complete_batch, self._on_token = complete_batch, on_token
        self._n_submitted = 0
        self._waiting: dict[int, CompletionRequest] = {}

    def submit(self, request: CompletionRequest) -> int:
        request_id = self._n_submitted
        self._n_submitted += 1
        self._waiting[request_id] = request
        return request_id

    def step(self) -> list[tuple[int, Completion]]:
        ids, requests = list(self._waiting), list(self._waiting.values())
        self._waiting.clear()
        if not requests:
            return []
        on_token = self._on_token
        emit = None if on_token is None else lambda index, token: on_token(ids[index], token)
        return list(zip(ids, self._complete_batch(requests, emit), strict=True))

    def release(self, request_id: int) -> None:
        self._waiting.pop(request_id, None)
