r"""The interaction loop: rollouts of tasks, between a policy and the visual operations.

One rollout is a conversation. Turn by turn::

    policy samples a message ──▶ renderer parses it ─┬─ an operation ──▶ toolbox ──▶ observation ──▶ next turn
                                                     └─ no operation ──▶ the rollout ends

All rollouts are in progress at the same time, and new ones may join at any step. Those whose message is
complete leave the policy's batch, have their operation carried out while the others go on, and return with
its result. What follows holds whatever a model writes:

* Nothing a model writes raises. A call that cannot be read or carried out becomes an observation with
  `valid=False`, and the conversation goes on.
* A message that asks for an operation and also gives an answer has asked for an operation.
* A message that was cut (by `Sampling.max_tokens`, or by what `Limits.max_tokens` leaves) is not parsed: it
  has no call and no answer, and the rollout ends. A prompt that leaves no room ends it without a message.
* Limits are counted in what the model reads: an image is as many tokens as it takes.
* Tokens are recorded once. `Turn.sampled` is what the policy sampled, up to its stop token; whatever was put
  after it is in `Turn.observed`, and is never trained on. A message that ended with another stop token than
  the chat template's is closed there.
* The random numbers of a rollout depend on its own seed and turn only, never on the rest of the batch or on
  the order in which messages and operations are completed.
* A request may replace what operations return (`env.replacement`); the record then says so.
* Events are emitted on the caller's thread.
* Nothing is scored here.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType

from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.core.trajectory import Observation, Trajectory, Turn
from pixelreasoner.env.events import OnEvent, TextStream
from pixelreasoner.env.executor import ToolExecutor
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.state import RolloutContext, RolloutRequest, RolloutState, execute, turn_seed, unasked
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Completion, Policy, Sampling

__all__ = ["RolloutContext", "RolloutRequest", "RolloutState", "Rollouts", "rollout", "turn_seed", "unasked"]

TOOL_LATENCY_STEPS = 4
"""Steps of the engine that an operation has in lockstep. One that needs more is waited for."""
MAX_WAIT_S = 0.05
"""A free step in which nothing is generated and no operation returns takes so long, and then returns."""
CLOSE_TIMEOUT_S = 1.0


def rollout(
    requests: Sequence[RolloutRequest],
    *,
    policy: Policy,
    renderer: Renderer,
    toolbox: Toolbox | None,
    sampling: Sampling,
    limits: Limits,
    on_event: OnEvent | None = None,
) -> list[Trajectory]:
    """One trajectory per request, in order, scheduled in lockstep (see `Rollouts`).

    Args:
        requests: repeat a task with different seeds for a group.
        policy: samples the messages.
        renderer: turns tasks and observations into the policy's tokens, and its tokens into text.
        toolbox: the operations to offer; None offers none, and a call is then only text.
        sampling: how each message is sampled.
        limits: how long each rollout may be.
        on_event: called with what happens as it happens; token by token where the policy streams.

    Raises:
        MediaError: a task holds more than one video.
        ConfigError: the limit of tokens is above the model's.
    """
    done: dict[int, Trajectory] = {}
    with Rollouts(
        policy=policy, renderer=renderer, toolbox=toolbox, sampling=sampling, limits=limits, on_event=on_event
    ) as rollouts:
        ids = [rollouts.submit(request) for request in requests]
        while rollouts.n_unfinished:
            done.update(rollouts.step())
    return [done[id] for id in ids]


class Rollouts:
    """Rollouts in progress: requests join at any step, trajectories leave when they are finished.

    Two schedules:

    * **Lockstep**: operations are carried out one at a time, and the result of each is taken up
      `TOOL_LATENCY_STEPS` engine steps after its call; one that takes longer holds up the others. Which
      sequences run together does not depend on the clock, so that the same calls give the same bits. For
      training.
    * **Free**: operations are carried out side by side, on `max_workers` threads, and a result is taken up
      when it is there. A slow operation delays only its own conversation. For serving. Operations of
      different conversations must not share state that is not safe for threads.

    ::

        with Rollouts(policy=..., renderer=..., ..., lockstep=False) as rollouts:
            rollouts.submit(RolloutRequest(task, seed=0))
            while rollouts.n_unfinished:
                for request_id, trajectory in rollouts.step():
                    ...
    """

    def __init__(
        self,
        *,
        policy: Policy,
        renderer: Renderer,
        toolbox: Toolbox | None,
        sampling: Sampling,
        limits: Limits,
        on_event: OnEvent | None = None,
        lockstep: bool = True,
        max_workers: int = 16,
    ) -> None:
        """Open a session of the policy; it is held until `close`. Arguments as those of `rollout`."""
        self._context = RolloutContext(renderer, toolbox, sampling, limits, on_event or (lambda event: None))
        self._lockstep = lockstep
        self._n_submitted = self._n_steps = 0
        # Both by the request id of the message.
        self._generating: dict[int, _Generating] = {}
        self._awaiting: dict[int, _AwaitingTool] = {}
        self._finished: list[tuple[int, Trajectory]] = []
        self._executor = ToolExecutor(1 if lockstep else max_workers)
        # Left in the reverse order: no other operation begins, the session ends, threads are waited for.
        self._resources = ExitStack()
        self._resources.callback(self._executor.join, CLOSE_TIMEOUT_S)
        self._engine = self._resources.enter_context(policy.session(self._on_token if on_event else None))
        self._resources.callback(self._executor.cancel)

    @property
    def n_unfinished(self) -> int:
        """Rollouts whose trajectory `step` has not returned."""
        return len(self._generating) + len(self._awaiting) + len(self._finished)

    def submit(self, request: RolloutRequest) -> int:
        """Add a rollout; returns its id, a number that no other rollout of this object has.

        Raises:
            MediaError: there is more than one video.
            ConfigError: its limit of tokens is above the model's.
        """
        state = RolloutState.start(self._n_submitted, request, self._context)
        self._n_submitted += 1
        if state.trajectory is None:
            self._generate(state)
        else:
            self._finished.append((state.id, state.trajectory))
        return state.id

    def step(self) -> list[tuple[int, Trajectory]]:
        """Advance; returns the trajectories that are finished now, with the ids of their requests.

        An exception of an operation is a bug in it, and is raised here. Its rollout is lost; the others can
        be continued.
        """
        self._n_steps += 1
        if self._generating:
            for message_id, completion in self._engine.step():
                self._take_completion(message_id, completion)
        for message_id in self._returned():
            self._take_observation(message_id)
        finished, self._finished = self._finished, []
        return finished

    def cancel(self, id: int) -> None:
        """Drop a rollout that is not finished."""
        for pending in (self._generating, self._awaiting):
            for message_id in [m for m, entry in pending.items() if entry.state.id == id]:
                del pending[message_id]
                self._engine.release(message_id)

    def close(self) -> None:
        """Drop what is not finished, begin no other operation, and end the policy's session."""
        self._generating.clear()
        self._awaiting.clear()
        self._resources.close()

    def __enter__(self) -> Rollouts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _generate(self, state: RolloutState) -> None:
        message_id = self._engine.submit(state.completion_request())
        stream = TextStream(state.id, self._context.renderer, self._context.emit)
        self._generating[message_id] = _Generating(state, stream)

    def _on_token(self, message_id: int, token: int) -> None:
        self._generating[message_id].stream.push(token)

    def _take_completion(self, message_id: int, completion: Completion) -> None:
        entry = self._generating.pop(message_id)
        entry.stream.flush()
        call = entry.state.record_completion(completion)
        if call is None:
            return self._finish(entry.state, message_id)
        operation = partial(execute, call.parsed, entry.state.images, self._context.toolbox)
        due = self._n_steps + TOOL_LATENCY_STEPS
        result = self._executor.submit(operation)
        self._awaiting[message_id] = _AwaitingTool(entry.state, call.turn, result, due)

    def _returned(self) -> list[int]:
        """The messages whose operations are taken up in this step."""
        awaiting = self._awaiting
        if self._lockstep:
            # When nothing is generated, all are waited for: a batch is best begun by all at once.
            return [m for m, entry in awaiting.items() if not self._generating or entry.due <= self._n_steps]
        if awaiting and not self._generating and not self._finished:
            wait([e.result for e in awaiting.values()], timeout=MAX_WAIT_S, return_when=FIRST_COMPLETED)
        return [m for m, entry in awaiting.items() if entry.result.done()]

    def _take_observation(self, message_id: int) -> None:
        entry = self._awaiting.pop(message_id)
        if (bug := entry.result.exception()) is not None:
            self._engine.release(message_id)
            raise bug
        entry.state.record_observation(entry.turn, entry.result.result())
        if entry.state.trajectory is None:
            self._generate(entry.state)
        else:
            self._finish(entry.state, message_id)

    def _finish(self, state: RolloutState, message_id: int) -> None:
        assert state.trajectory is not None
        self._engine.release(message_id)
        self._finished.append((state.id, state.trajectory))


@dataclass(frozen=True, eq=False)
class _Generating:
    """A rollout that waits for the policy's message."""

    state: RolloutState
    stream: TextStream


@dataclass(frozen=True, eq=False)
class _AwaitingTool:
    """A rollout that waits for the result of an operation."""

    state: RolloutState
    turn: Turn
    """The message that asked for it."""
    result: Future[Observation]
    due: int
    """In lockstep, the step in which it is taken up."""
