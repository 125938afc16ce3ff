r"""The interaction loop: attempts at tasks, played out between a policy and the visual operations.

One attempt is a conversation. Turn by turn::

    policy samples a message ──▶ renderer reads it ──┬─ an operation ──▶ toolbox ──▶ observation ──▶ next turn
                                                     └─ no operation ──▶ the attempt ends

All attempts are under way at the same time. Those whose message is complete leave the policy's batch, have
their operation carried out while the others go on, and come back with its result `TOOL_LATENCY_STEPS`
steps later. (A policy without an engine of its own completes all messages of a turn together.)

What holds, whatever a model says:

* Nothing a model says raises. A call that cannot be read or carried out comes back as an observation with
  `valid=False`, and the conversation goes on.
* A message that asks for an operation and also gives an answer has asked for an operation.
* A message that was cut (by `Sampling.max_tokens`, or by what `Limits.max_tokens` leaves) says nothing: it
  has no call and no answer, and the attempt ends.
* Tokens are recorded once. `Turn.sampled` is what the policy drew, up to its stop token; whatever was put
  after it is in `Turn.observed`, and is never learned.
* An attempt's random draws depend on its own seed and turn only, never on the rest of the batch or on the
  order in which messages and operations are completed.
* Operations are carried out one at a time, by a thread of their own; events are told by the caller's. Who
  speaks together with whom does not depend on how long an operation takes: a rollout can be repeated to the
  bit, rounding included.
* Nothing is scored here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from pixelreasoner.chat.hermes import last_boxed
from pixelreasoner.chat.prompting import task_messages
from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.messages import Parsed
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment, StopReason, Trajectory, Turn
from pixelreasoner.env.events import Finished, OnEvent, OperationReturned, OperationStarted, TextStream
from pixelreasoner.env.limits import Limits
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Completion, Engine, Policy, Request, Sampling, session

TOOL_LATENCY_STEPS = 4
"""Steps of the engine that an operation has. One that needs more is waited for, and holds up the others: if
results were taken up whenever they are there, who is in a batch would depend on the clock."""


@dataclass(frozen=True)
class RolloutRequest:
    """A request for one trajectory."""

    task: Task
    seed: int
    """Fixes every draw of the attempt, given the policy's weights."""


def rollout(
    attempts: Sequence[RolloutRequest],
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
    speaking: dict[int, _Speaking] = {}

    def on_token(ticket: int, token: int) -> None:
        speaking[ticket].stream.push(token)

    with (
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="operations") as hands,
        session(policy, sampling, on_token if on_event else None) as engine,
    ):
        try:
            _play(conversations, speaking, engine, hands, game)
        finally:
            hands.shutdown(wait=False, cancel_futures=True)  # after an interrupt, some may not have begun
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
    context: ImageContext
    segments: list[Segment]
    turns: list[Turn] = field(default_factory=list)
    trajectory: Trajectory | None = None

    @property
    def n_tokens(self) -> int:
        return sum(len(segment.ids) for segment in self.segments[1:])

    @property
    def n_operations(self) -> int:
        return sum(turn.observation is not None and turn.observation.valid for turn in self.turns)


def _open(index: int, attempt: RolloutRequest, game: _Game) -> _Conversation:
    schemas = () if game.toolbox is None else game.toolbox.schemas
    renderer = game.renderer
    messages = task_messages(attempt.task, renderer.chat_format, tools=bool(schemas))
    prompt = renderer.prompt(messages, schemas)
    return _Conversation(
        index, attempt.task, attempt.seed, renderer.vision.image_context(attempt.task.media), [prompt]
    )


def _play(
    conversations: Sequence[_Conversation],
    speaking: dict[int, _Speaking],
    engine: Engine,
    hands: ThreadPoolExecutor,
    game: _Game,
) -> None:
    """Until every conversation has its trajectory; `speaking` holds those whose message is in the making."""

    def ask(conversation: _Conversation) -> None:
        seed = turn_seed(conversation.seed, len(conversation.turns))
        ticket = engine.submit(Request(tuple(conversation.segments), seed))
        stream = TextStream(conversation.index, game.renderer, game.tell)
        speaking[ticket] = _Speaking(conversation, stream)

    looking: list[_Looking] = []
    n_steps = 0
    for conversation in conversations:
        ask(conversation)
    while speaking or looking:
        n_steps += 1
        for ticket, completion in engine.step() if speaking else ():
            spoke = speaking.pop(ticket)
            spoke.stream.flush()
            call = _hear(spoke.conversation, completion, game)
            if call is None:
                engine.release(ticket)
            else:
                context = spoke.conversation.context
                result = hands.submit(_carry_out, call.parsed, context, game.toolbox)
                due = n_steps + TOOL_LATENCY_STEPS
                looking.append(_Looking(spoke.conversation, ticket, call.turn, result, due))
        # When nobody speaks there is nothing to do but wait, and a batch is best begun by all at once.
        back = [look for look in looking if not speaking or look.due <= n_steps]
        looking = [look for look in looking if look not in back]
        for look in back:
            _see(look.conversation, look.turn, look.result.result(), game)
            if look.conversation.trajectory is None:
                ask(look.conversation)
            else:
                engine.release(look.ticket)


@dataclass(frozen=True, eq=False)
class _Speaking:
    """A conversation that waits for the model's message."""

    conversation: _Conversation
    stream: TextStream


@dataclass(frozen=True, eq=False)
class _Looking:
    """A conversation that waits for an operation."""

    conversation: _Conversation
    ticket: int
    """Of the message that asked for it."""
    turn: Turn
    result: Future[Observation]
    due: int
    """The step after which it is taken up."""


@dataclass(frozen=True)
class _Call:
    """A message that asks for an operation, readable or not."""

    turn: Turn
    parsed: Parsed


def _hear(conversation: _Conversation, completion: Completion, game: _Game) -> _Call | None:
    """Record one message; returns the operation it asks for, or None when it ends the attempt."""
    room = game.limits.max_tokens - conversation.n_tokens
    sampled, whole = _message(completion, game.renderer, room)
    text = game.renderer.decode(sampled.ids)
    turn = Turn(text=text, sampled=sampled, weight_version=completion.weight_version)
    conversation.segments.append(sampled)
    if not whole:
        return _end(conversation, turn, StopReason.TOKEN_LIMIT, game)

    parsed = _read(text, game)
    turn = replace(turn, call=parsed.call)
    if parsed.call is None and parsed.call_error is None:
        return _end(conversation, turn, StopReason.ANSWER, game, parsed.answer)
    if _operations_spent(conversation, game.limits):
        return _end(conversation, turn, StopReason.TURN_LIMIT, game)
    if parsed.call is not None:
        game.tell(OperationStarted(conversation.index, parsed.call))
    return _Call(turn, parsed)


def _carry_out(parsed: Parsed, context: ImageContext, toolbox: Toolbox | None) -> Observation:
    """What the operation returns; called by the thread that carries them out."""
    assert toolbox is not None, "calls are only read where operations are offered"
    if parsed.call is None:
        return toolbox.reject(parsed.call_error or "")
    return toolbox.execute(parsed.call, context)


def _see(conversation: _Conversation, turn: Turn, observation: Observation, game: _Game) -> None:
    """Record what an operation returned, and open the next turn or end the attempt."""
    game.tell(OperationReturned(conversation.index, observation))
    turn = replace(turn, observation=observation)
    if len(conversation.context.images) + len(observation.images) > game.limits.max_images:
        return _end(conversation, turn, StopReason.IMAGE_LIMIT, game)
    assert turn.sampled is not None
    observed = _observed(observation, turn.sampled, game.renderer)
    if conversation.n_tokens + len(observed.ids) >= game.limits.max_tokens:
        return _end(conversation, turn, StopReason.TOKEN_LIMIT, game)

    shown = (game.renderer.vision.displayed(picture, crop=True) for picture in observation.images)
    conversation.context = conversation.context.add(*shown)
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
    )
    game.tell(Finished(conversation.index, conversation.trajectory))
