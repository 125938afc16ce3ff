"""A policy that replays a script: a public test double, for rollouts without a model.

::

    zoom = 'Closer. <tool_call>{"name": "crop_image", "arguments": {"bbox_2d": [0, 0, 8, 8]}}</tool_call>'
    policy = ScriptedPolicy([zoom, "It reads K. \\\\boxed{K}"], renderer)

A message is a text, which the renderer encodes with its stop token, or a tuple of raw token ids, used as
they are: for fuzzing, and for messages without a stop token. A script is

* a list of messages: message k is that of turn k in every conversation;
* `per_conversation([...], renderer)`: one such list for each conversation, in the order of the first batch;
* `per_prompt({text: [...]}, renderer)`: one list for each task, found by a text of its prompt;
* any callable `(request, turn) -> message`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.policy.base import Completion, CompletionRequest, Engine, OnToken
from pixelreasoner.policy.batch import BatchEngine

if TYPE_CHECKING:
    from torch import Tensor

ScriptedMessage = str | tuple[int, ...]
"""A text, or raw token ids."""
Script = Callable[[CompletionRequest, int], ScriptedMessage]
"""The message of this conversation in turn 0, 1, ..."""


class ScriptedPolicy:
    """Replays a script; every token has log-probability 0.

    A message longer than `Sampling.max_tokens` is cut there and finishes with "length", and so does a
    message of raw ids that holds no stop token at its end, like those of a real policy.
    """

    def __init__(
        self, script: Script | Sequence[ScriptedMessage], renderer: Renderer, *, weight_version: int = 0
    ) -> None:
        self._script = script if callable(script) else _same_for_all(script)
        self._renderer = renderer
        self.weight_version = weight_version

    @contextmanager
    def session(self, on_token: OnToken | None = None) -> Iterator[Engine]:
        """An engine that completes all waiting requests in one step."""
        yield BatchEngine(self.complete_batch, on_token)

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Only the version is kept."""
        self.weight_version = version

    def complete_batch(
        self, requests: Sequence[CompletionRequest], on_token: OnToken | None = None
    ) -> list[Completion]:
        """One completion per request, in order; `on_token` is called with the request's index.

        Raises:
            ConfigError: the script has nothing for a conversation's turn.
        """
        completions = [self._completion(request) for request in requests]
        if on_token is not None:
            for index, completion in enumerate(completions):
                for token in completion.ids:
                    on_token(index, token)
        return completions

    def _completion(self, request: CompletionRequest) -> Completion:
        message = self._script(request, turn_of(request))
        ids = self._renderer.encode(message) if isinstance(message, str) else message
        ids = ids[: request.sampling.max_tokens]
        stopped = bool(ids) and ids[-1] in self._renderer.stop_ids
        return Completion(
            ids=ids,
            logprobs=(0.0,) * len(ids),
            finish="stop" if stopped else "length",
            weight_version=self.weight_version,
        )


def turn_of(request: CompletionRequest) -> int:
    """The turn of the next message, from 0: the prompt is followed by (message, observation) pairs."""
    return (len(request.segments) - 1) // 2


def per_conversation(conversations: Sequence[Sequence[ScriptedMessage]], renderer: Renderer) -> Script:
    """One list of messages for each conversation, in the order of their first requests.

    A batch shrinks as conversations finish, so a conversation is recognised by its tokens, its own last
    message included; those that are equal so far continue in the order of the batch.
    """
    waiting: defaultdict[tuple[tuple[int, ...], ...], deque[int]] = defaultdict(deque)
    waiting[()].extend(range(len(conversations)))

    def script(request: CompletionRequest, turn: int) -> ScriptedMessage:
        tokens = tuple(segment.ids for segment in request.segments)
        known = waiting[tokens[:-1]]
        if not known:
            raise ConfigError(f"the script's {len(conversations)} conversations do not lead to this request")
        which = known.popleft()
        message = _message(conversations[which], turn)
        ids = renderer.encode(message) if isinstance(message, str) else message
        waiting[(*tokens, ids)].append(which)
        return message

    return script


def per_prompt(scripts: Mapping[str, Sequence[ScriptedMessage]], renderer: Renderer) -> Script:
    """One list of messages for each task: the first whose key occurs in the prompt's text."""

    def script(request: CompletionRequest, turn: int) -> ScriptedMessage:
        prompt = renderer.decode(request.segments[0].ids)
        for key, messages in scripts.items():
            if key in prompt:
                return _message(messages, turn)
        raise ConfigError(f"no key of the script occurs in the prompt {prompt!r}")

    return script


def _same_for_all(messages: Sequence[ScriptedMessage]) -> Script:
    return lambda request, turn: _message(messages, turn)


def _message(messages: Sequence[ScriptedMessage], turn: int) -> ScriptedMessage:
    if turn >= len(messages):
        raise ConfigError(f"the script has {len(messages)} messages; message {turn + 1} was asked for")
    return messages[turn]
