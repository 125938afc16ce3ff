"""One rollout of a served model: its messages come from the endpoint, its operations are carried out here.

The rules are those of `env.rollout`: the first call of a message counts, a call wins over an answer, a
message that was cut is not parsed, and the limits are the same. How many tokens a conversation takes is known
once the server has said so; `Limits.max_tokens` goes by what it said last.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pixelreasoner.chat.calls import last_boxed
from pixelreasoner.chat.prompting import task_messages
from pixelreasoner.core.media import Media
from pixelreasoner.core.messages import Parsed
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.endpoint.failures import TooLongError
from pixelreasoner.endpoint.reply import Reply
from pixelreasoner.endpoint.requests import ChatMessage
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.state import RolloutRequest, execute, turn_seed
from pixelreasoner.evals.endpoint.client import ChatClient
from pixelreasoner.evals.endpoint.config import Spoken
from pixelreasoner.evals.endpoint.messages import Tools, opening, parse, said, shown, text_of
from pixelreasoner.evals.scores import COMPLETION_TOKENS, PROMPT_TOKENS
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Sampling


@dataclass(frozen=True)
class Served:
    """A served model, and all that its conversations share."""

    client: ChatClient
    spoken: Spoken
    toolbox: Toolbox | None
    """None offers no operation, and a call is then only text."""
    native: bool
    """Whether operations are offered as `tools` of the request."""
    sampling: Sampling
    limits: Limits


def converse(request: RolloutRequest | Trajectory, served: Served) -> Trajectory:
    """The rollout that a request asks for, without tokens and not scored; one that is there is taken.

    Raises:
        RequestFailedError: a message could not be had.
        EndpointError: the server refuses all requests.
        Stopped: the client was closed meanwhile.
        MediaError: there is more than one video, or a picture cannot be read any more.
    """
    if isinstance(request, Trajectory):
        return request
    conversation = _Conversation.start(request, served)
    while conversation.trajectory is None:
        conversation.advance()
    return conversation.trajectory


@dataclass
class _Conversation:
    """A rollout in progress."""

    request: RolloutRequest
    served: Served
    images: ImageContext
    messages: list[ChatMessage]
    tools: Tools
    """That are offered natively."""
    turns: list[Turn] = field(default_factory=list[Turn])
    n_tokens: int = 0
    """Of the conversation, as far as it is known."""
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    trajectory: Trajectory | None = None
    """Once the rollout is over."""

    @classmethod
    def start(cls, request: RolloutRequest, served: Served) -> _Conversation:
        spoken = served.spoken
        schemas = () if served.toolbox is None else served.toolbox.schemas
        messages = request.messages
        if messages is None:
            messages = task_messages(request.task, spoken.chat_format, tools=bool(schemas))
        placed = [(m.role, part) for m in messages for part in m.parts if not isinstance(part, str)]
        media: list[Media] = [part for _, part in placed]
        crops = [at for at, (role, _) in enumerate(placed) if role == "tool"]
        images = spoken.vision.image_context(media, crops)
        described = () if served.native else schemas
        sent = opening(messages, described, spoken.chat_format, spoken.vision)
        return cls(request, served, images, sent, schemas if served.native else ())

    @property
    def limits(self) -> Limits:
        return self.request.limits or self.served.limits

    def advance(self) -> None:
        """Get one message and carry out its operation."""
        sampling = self.request.sampling or self.served.sampling
        if self.limits.max_tokens is not None:
            room = self.limits.max_tokens - self.n_tokens
            if room < 1:
                return self._finish(StopReason.TOKEN_LIMIT)
            sampling = sampling.model_copy(update={"max_tokens": min(room, sampling.max_tokens)})
        seed = turn_seed(self.request.seed, len(self.turns))
        try:
            reply = self.served.client.complete(self.messages, self.tools, sampling, seed)
        except TooLongError:
            return self._finish(StopReason.TOKEN_LIMIT)
        self.n_prompt_tokens += reply.prompt_tokens
        self.n_completion_tokens += reply.completion_tokens
        self.n_tokens = reply.prompt_tokens + reply.completion_tokens
        self._record(reply)

    def _record(self, reply: Reply) -> None:
        """Record a message; carry out the operation that it asks for, or end the rollout."""
        toolbox, text = self.served.toolbox, text_of(reply, self.served.spoken.syntax)
        turn = Turn(text)
        if reply.finish == "length":
            return self._finish(StopReason.TOKEN_LIMIT, turn)
        no_call = Parsed(text, answer=last_boxed(text))
        parsed = no_call if toolbox is None else parse(reply, toolbox.schemas)
        turn = replace(turn, call=parsed.call)
        if parsed.call is None and parsed.call_error is None:
            return self._finish(StopReason.ANSWER, turn, parsed.answer)
        n_operations = sum(t.observation is not None and t.observation.valid for t in self.turns)
        if not self.limits.allows_operation(len(self.turns) + 1, n_operations):
            return self._finish(StopReason.TURN_LIMIT, turn)
        observation = execute(parsed, self.images, toolbox)
        if (replacement := self.request.replacement) is not None:
            observation = replacement.apply(observation, len(self.turns), self.images)
        turn = replace(turn, observation=observation)
        if len(self.images.images) + len(observation.images) > self.limits.max_images:
            return self._finish(StopReason.IMAGE_LIMIT, turn)
        self._show(reply, turn, observation)

    def _show(self, reply: Reply, turn: Turn, observation: Observation) -> None:
        """Put a message and what its operation returned into the next request."""
        vision, chat_format = self.served.spoken.vision, self.served.spoken.chat_format
        number = len(self.turns) + 1
        self.messages += [said(reply), *shown(observation, reply, number, chat_format, vision)]
        self.images = self.images.add(*(vision.displayed(p, crop=True) for p in observation.images))
        self.n_tokens += sum(vision.n_tokens(p, crop=True) for p in observation.images)
        self.turns.append(turn)

    def _finish(self, stop: StopReason, turn: Turn | None = None, answer: str | None = None) -> None:
        counts = {PROMPT_TOKENS: self.n_prompt_tokens, COMPLETION_TOKENS: self.n_completion_tokens}
        self.trajectory = Trajectory(
            task=self.request.task,
            turns=(*self.turns, *(() if turn is None else (turn,))),
            stop=stop,
            answer=answer,
            coordinates=self.served.spoken.vision.coordinates,
            metrics={name: float(n) for name, n in counts.items() if n},
        )
