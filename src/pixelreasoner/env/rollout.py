r"""The interaction loop: attempts at tasks, played out between a policy and the visual operations.

One attempt is a conversation. Turn by turn::

    policy samples a message ──▶ renderer reads it ──┬─ an operation ──▶ toolbox ──▶ observation ──▶ next turn
                                                     └─ no operation ──▶ the attempt ends

All unfinished attempts take their turn together, as one batch; those that end leave it.

What holds, whatever a model says:

* Nothing a model says raises. A call that cannot be read or carried out comes back as an observation with
  `valid=False`, and the conversation goes on.
* A message that asks for an operation and also gives an answer has asked for an operation.
* A message that was cut (by `Sampling.max_tokens`, or by what `Limits.max_tokens` leaves) says nothing: it
  has no call and no answer, and the attempt ends.
* Tokens are recorded once. `Turn.sampled` is what the policy drew, up to its stop token; whatever was put
  after it is in `Turn.observed`, and is never learned.
* An attempt's random draws depend on its own seed and turn only, never on the rest of the batch.
* Nothing is scored here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pixelreasoner.chat.parsing import last_boxed
from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.messages import Parsed
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.env.events import Finished, OnEvent, OperationReturned, OperationStarted, TextStream
from pixelreasoner.env.limits import Limits
from pixelreasoner.ops.scene import Scene, Shown
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Completion, OnToken, Policy, Request, Sampling


@dataclass(frozen=True)
class Attempt:
    """A request for one trajectory."""

    task: Task
    seed: int
    """Fixes every draw of the attempt, given the policy's weights."""


def rollout(
    attempts: Sequence[Attempt],
    *,
    policy: Policy,
    renderer: Renderer,
    toolbox: Toolbox | None,
    sampling: Sampling,
    limits: Limits,
    on_event: OnEvent | None = None,
) -> list[Trajectory]:
    """One trajectory per attempt, in order.

    Args:
        attempts: what to play; repeat a task with different seeds for a group.
        policy: samples the messages.
        renderer: turns tasks and observations into the policy's tokens, and its tokens into words.
        toolbox: the operations to offer; None offers none, and a call is then only text.
        sampling: how each message is drawn.
        limits: how long each attempt may go on.
        on_event: called with what happens as it happens; token by token where the policy streams.

    Raises:
        MediaError: a task holds more than one video.
    """
    game = _Game(renderer, toolbox, limits, on_event or (lambda event: None))
    conversations = [_open(index, attempt, game) for index, attempt in enumerate(attempts)]
    while waiting := [c for c in conversations if c.trajectory is None]:
        requests = [Request(tuple(c.segments), turn_seed(c.seed, len(c.turns))) for c in waiting]
        streams = [TextStream(c.index, renderer, game.tell) for c in waiting]
        on_token = _feed(streams) if on_event else None
        completions = policy.sample(requests, sampling, on_token)
        for conversation, stream, completion in zip(waiting, streams, completions, strict=True):
            stream.flush()
            _take_turn(conversation, completion, game)
    return [c.trajectory for c in conversations if c.trajectory is not None]


def turn_seed(seed: int, turn: int) -> int:
    """The seed of one message: 63 bits of a hash of the attempt's seed and the turn, counted from 0."""
    digest = hashlib.blake2b(f"{seed}/{turn}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class _Game:
    """What all conversations of one rollout share."""

    renderer: Renderer
    toolbox: Toolbox | None
    limits: Limits
    tell: OnEvent


@dataclass
class _Conversation:
    """An attempt under way: the only mutable thing in the loop."""

    index: int
    task: Task
    seed: int
    scene: Scene
    segments: list[Segment]
    turns: list[Turn] = field(default_factory=list)
    weight_version: int | None = None
    trajectory: Trajectory | None = None

    @property
    def n_tokens(self) -> int:
        return sum(len(segment.ids) for segment in self.segments[1:])

    @property
    def n_operations(self) -> int:
        return sum(turn.observation is not None and turn.observation.valid for turn in self.turns)


def _open(index: int, attempt: Attempt, game: _Game) -> _Conversation:
    schemas = () if game.toolbox is None else game.toolbox.schemas
    prompt = game.renderer.prompt(attempt.task, schemas)
    return _Conversation(index, attempt.task, attempt.seed, scene_of(attempt.task, game.renderer), [prompt])


def scene_of(task: Task, renderer: Renderer) -> Scene:
    """What the prompt shows: pictures are numbered from 1, a video is apart and has no number.

    Raises:
        MediaError: the task holds more than one video.
    """
    videos = [item for item in task.media if isinstance(item, Video)]
    if len(videos) > 1:
        raise MediaError(f"task {task.id!r} has {len(videos)} videos; split it into one task per video")
    pictures = [item for item in task.media if isinstance(item, Picture)]
    images = tuple(Shown(picture, renderer.view(picture, crop=False)) for picture in pictures)
    return Scene(images=images, video=videos[0] if videos else None)


def _take_turn(conversation: _Conversation, completion: Completion, game: _Game) -> None:
    """Record one message, and answer the operation it asks for or end the attempt."""
    room = game.limits.max_tokens - conversation.n_tokens
    sampled, whole = _message(completion, game.renderer, room)
    text = game.renderer.decode(sampled.ids)
    turn = Turn(text=text, sampled=sampled)
    conversation.segments.append(sampled)
    if conversation.weight_version is None:
        conversation.weight_version = completion.weight_version
    if not whole:
        return _end(conversation, turn, StopReason.TOKEN_LIMIT, game)

    parsed = _read(text, game)
    turn = replace(turn, call=parsed.call)
    if parsed.call is None and parsed.call_error is None:
        return _end(conversation, turn, StopReason.ANSWER, game, parsed.answer)
    if _operations_spent(conversation, game.limits):
        return _end(conversation, turn, StopReason.TURN_LIMIT, game)

    observation = _carry_out(parsed, conversation, game)
    turn = replace(turn, observation=observation)
    if len(conversation.scene.images) + len(observation.images) > game.limits.max_images:
        return _end(conversation, turn, StopReason.IMAGE_LIMIT, game)
    observed = _observed(observation, sampled, game.renderer)
    if conversation.n_tokens + len(observed.ids) >= game.limits.max_tokens:
        return _end(conversation, turn, StopReason.TOKEN_LIMIT, game)

    shown = (Shown(picture, game.renderer.view(picture, crop=True)) for picture in observation.images)
    conversation.scene = conversation.scene.add(*shown)
    conversation.segments.append(observed)
    conversation.turns.append(replace(turn, observed=observed))


def _message(completion: Completion, renderer: Renderer, room: int) -> tuple[Segment, bool]:
    """The message's tokens, and whether it is whole.

    It ends with its first stop token. It is cut before a token no model may say (a media placeholder would
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


def _read(text: str, game: _Game) -> Parsed:
    if game.toolbox is None:
        return Parsed(text=text, answer=last_boxed(text))
    return game.renderer.parse(text)


def _operations_spent(conversation: _Conversation, limits: Limits) -> bool:
    last_turn = len(conversation.turns) + 1 >= limits.max_turns
    return last_turn or conversation.n_operations >= limits.max_operations


def _carry_out(parsed: Parsed, conversation: _Conversation, game: _Game) -> Observation:
    assert game.toolbox is not None, "calls are only read where operations are offered"
    if parsed.call is None:
        observation = game.toolbox.reject(parsed.call_error or "")
    else:
        game.tell(OperationStarted(conversation.index, parsed.call))
        observation = game.toolbox.execute(parsed.call, conversation.scene)
    game.tell(OperationReturned(conversation.index, observation))
    return observation


def _observed(observation: Observation, sampled: Segment, renderer: Renderer) -> Segment:
    """The tokens that answer a message, closing it first when the policy stopped without a stop token."""
    observed = renderer.observation(observation)
    if sampled.ids and sampled.ids[-1] in renderer.stop_ids:
        return observed
    stop = renderer.encode("")[-1]
    return replace(observed, ids=(stop, *observed.ids))


def _end(
    conversation: _Conversation, turn: Turn, stop: StopReason, game: _Game, answer: str | None = None
) -> None:
    """Freeze the attempt. A last observation that did not fit stays on record, without tokens."""
    conversation.trajectory = Trajectory(
        task=conversation.task,
        turns=(*conversation.turns, turn),
        stop=stop,
        answer=answer,
        prompt=conversation.segments[0],
        weight_version=conversation.weight_version or 0,
    )
    game.tell(Finished(conversation.index, conversation.trajectory))


def _feed(streams: Sequence[TextStream]) -> OnToken:
    return lambda index, token: streams[index].push(token)
