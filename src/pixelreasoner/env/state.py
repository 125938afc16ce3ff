"""One rollout: what is asked for, what is known so far, and what each completion and observation changes."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, field, replace

from pixelreasoner.chat.calls import last_boxed
from pixelreasoner.chat.prompting import task_messages
from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.messages import Message, Parsed
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.env.events import Finished, OnEvent, OperationReturned, OperationStarted
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.replacement import Replacement
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Completion, CompletionRequest, Sampling


@dataclass(frozen=True)
class RolloutRequest:
    """A request for one trajectory."""

    task: Task
    seed: int
    """Fixes all random numbers of the rollout, given the policy's weights."""
    messages: tuple[Message, ...] | None = None
    """What the prompt is rendered from; None writes the task's own. Operations see the media in them."""
    sampling: Sampling | None = None
    """In place of the one that all share."""
    limits: Limits | None = None
    """In place of those that all share."""
    replacement: Replacement | None = None
    """What the model is shown in the place of what operations return; None shows what they return."""


@dataclass(frozen=True)
class RolloutContext:
    """What the rollouts of one engine share."""

    renderer: Renderer
    toolbox: Toolbox | None
    """None offers no operation, and a call is then only text."""
    sampling: Sampling
    limits: Limits
    emit: OnEvent


@dataclass(frozen=True)
class PendingCall:
    """A message that asks for an operation, and the call, readable or not."""

    turn: Turn
    parsed: Parsed


@dataclass
class RolloutState:
    """A rollout in progress: the only mutable thing in the interaction."""

    id: int
    request: RolloutRequest
    context: RolloutContext
    images: ImageContext
    segments: list[Segment]
    turns: list[Turn] = field(default_factory=list[Turn])
    n_tokens: int = 0
    """Of the conversation, as the model reads it."""
    max_tokens: int = sys.maxsize
    """Of the conversation; no limit where neither the recipe nor the model says one."""
    trajectory: Trajectory | None = None
    """Once the rollout is over."""

    @classmethod
    def start(cls, id: int, request: RolloutRequest, context: RolloutContext) -> RolloutState:
        """Render the prompt.

        A prompt that leaves no room for a message is a rollout that is over, without turns.

        Raises:
            MediaError: there is more than one video.
            ConfigError: the limit is longer than what the model can read.
        """
        renderer, tools = context.renderer, context.toolbox.schemas if context.toolbox is not None else ()
        messages = request.messages
        if messages is None:
            messages = task_messages(request.task, renderer.chat_format, tools=bool(tools))
        prompt = renderer.prompt(messages, tools)
        images = renderer.vision.image_context(prompt.media, prompt.crops)
        state = cls(id, request, context, images, [prompt])
        state.n_tokens = renderer.n_tokens(prompt, prompt=True)
        if (limit := state.limits.conversation_tokens(renderer.max_tokens)) is not None:
            state.max_tokens = limit
        if state.room < 1:
            state._finish((), StopReason.TOKEN_LIMIT)
        return state

    @property
    def limits(self) -> Limits:
        return self.request.limits or self.context.limits

    @property
    def room(self) -> int:
        """Tokens that the conversation may still get."""
        return self.max_tokens - self.n_tokens

    @property
    def n_operations(self) -> int:
        return sum(turn.observation is not None and turn.observation.valid for turn in self.turns)

    def completion_request(self) -> CompletionRequest:
        """For the next message, which is sampled no further than there is room."""
        sampling = self.request.sampling or self.context.sampling
        if self.room < sampling.max_tokens:
            sampling = sampling.model_copy(update={"max_tokens": self.room})
        return CompletionRequest(
            tuple(self.segments), turn_seed(self.request.seed, len(self.turns)), sampling
        )

    def record_completion(self, completion: Completion) -> PendingCall | None:
        """Record one message; returns the operation it asks for, or None when it ends the rollout."""
        renderer = self.context.renderer
        sampled, is_whole = _message(completion, renderer, self.room)
        text = renderer.decode(sampled.ids)
        turn = Turn(text=text, sampled=sampled, weight_version=completion.weight_version)
        self.segments.append(sampled)
        self.n_tokens += len(sampled.ids)
        if not is_whole:
            return self._end(turn, StopReason.TOKEN_LIMIT)

        toolbox = self.context.toolbox
        if toolbox is None:
            parsed = Parsed(text, answer=last_boxed(text))
        else:
            parsed = renderer.parse(text, toolbox.schemas)
        turn = replace(turn, call=parsed.call)
        if parsed.call is None and parsed.call_error is None:
            return self._end(turn, StopReason.ANSWER, parsed.answer)
        if not self.limits.allows_operation(len(self.turns) + 1, self.n_operations):
            return self._end(turn, StopReason.TURN_LIMIT)
        if parsed.call is not None:
            self.context.emit(OperationStarted(self.id, parsed.call))
        return PendingCall(turn, parsed)

    def record_observation(self, turn: Turn, observation: Observation) -> None:
        """Record what an operation returned, or what is shown in its place, and open the next turn or end."""
        if (replacement := self.request.replacement) is not None:
            observation = replacement.apply(observation, len(self.turns), self.images)
        self.context.emit(OperationReturned(self.id, observation))
        turn = replace(turn, observation=observation)
        if len(self.images.images) + len(observation.images) > self.limits.max_images:
            return self._end(turn, StopReason.IMAGE_LIMIT)
        assert turn.sampled is not None
        observed = _observed(observation, turn.sampled, self.context.renderer)
        n_observed = self.context.renderer.n_tokens(observed, prompt=False)
        if n_observed >= self.room:
            return self._end(turn, StopReason.TOKEN_LIMIT)

        vision = self.context.renderer.vision
        self.images = self.images.add(
            *(vision.displayed(picture, crop=True) for picture in observation.images)
        )
        self.segments.append(observed)
        self.n_tokens += n_observed
        self.turns.append(replace(turn, observed=observed))

    def _end(self, turn: Turn, stop: StopReason, answer: str | None = None) -> None:
        """Freeze the rollout. A last observation that did not fit stays on record, without tokens."""
        self._finish((*self.turns, turn), stop, answer)

    def _finish(self, turns: tuple[Turn, ...], stop: StopReason, answer: str | None = None) -> None:
        self.trajectory = Trajectory(
            task=self.request.task,
            turns=turns,
            stop=stop,
            answer=answer,
            prompt=self.segments[0],
            fingerprint=self.context.renderer.fingerprint,
            coordinates=self.context.renderer.vision.coordinates,
        )
        self.context.emit(Finished(self.id, self.trajectory))


def unasked(trajectory: Trajectory, renderer: Renderer, limits: Limits) -> str | None:
    """Why a rollout has no turns: its prompt left no room for a message. None where it has turns."""
    if trajectory.turns or trajectory.prompt is None:
        return None
    n = renderer.n_tokens(trajectory.prompt, prompt=True)
    what = (
        "interaction.limits.max_tokens" if limits.max_tokens else "its config.json, max_position_embeddings"
    )
    return (
        f"the question with its pictures takes {n} tokens, and the model reads a conversation of at most "
        f"{limits.conversation_tokens(renderer.max_tokens)} ({what}); ask a shorter one, or show fewer or "
        f"smaller pictures"
    )


def turn_seed(seed: int, turn: int) -> int:
    """The seed of one message: 63 bits of a hash of the rollout's seed and the turn, counted from 0."""
    digest = hashlib.blake2b(f"{seed}/{turn}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def execute(parsed: Parsed, images: ImageContext, toolbox: Toolbox | None) -> Observation:
    """What the operation returns, or why the call could not be read."""
    assert toolbox is not None, "calls are only read where operations are offered"
    if parsed.call is None:
        observation = toolbox.reject(parsed.call_error or "")
    else:
        observation = toolbox.execute(parsed.call, images)
    if not parsed.n_further_calls:
        return observation
    # Before the operation's own words, which may end with a colon before a picture.
    note = f"Only the first of your {parsed.n_further_calls + 1} calls was read; write one call per message."
    return replace(observation, text=f"{note} {observation.text}")


def _message(completion: Completion, renderer: Renderer, room: int) -> tuple[Segment, bool]:
    """The message's tokens, and whether it is whole.

    It ends with its first stop token. It is cut before a token no model may sample (a media placeholder would
    claim an image that is not there) and where the conversation's budget ends.
    """
    for at, token in enumerate(completion.ids[:room]):
        if token in renderer.stop_ids:
            return _first(completion, at + 1), True
        if token in renderer.forbidden_ids:
            return _first(completion, at), False
    fits = len(completion.ids) <= room
    return _first(completion, room), fits and completion.finish == "stop"


def _first(completion: Completion, n: int) -> Segment:
    return Segment(ids=completion.ids[:n], logprobs=completion.logprobs[:n])


def _observed(observation: Observation, sampled: Segment, renderer: Renderer) -> Segment:
    """The tokens that answer a message, after the token that closes it wherever the policy sampled another.

    It may have stopped without one, or with another stop token: `<|endoftext|>` ends a text, not a message of
    the chat template. What was sampled stays as it was sampled; the closing token is observed, not learned.
    """
    observed = renderer.observation(observation)
    closing = renderer.encode("")[-1]
    if sampled.ids and sampled.ids[-1] == closing:
        return observed
    return replace(observed, ids=(closing, *observed.ids))
