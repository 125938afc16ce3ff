"""The contract of the interaction loop, rules 10 to 13 (see `test_rollout.py`): many rollouts at a time."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from contextlib import contextmanager

import pytest

from pixelreasoner.chat.plain import IMAGE, STOP, VOCABULARY_SIZE
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory
from pixelreasoner.env.events import Event, Finished, OperationReturned, OperationStarted, TextToken
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, rollout, turn_seed
from pixelreasoner.objectives.loss_mask import loss_mask
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Completion, CompletionRequest, OnToken, Sampling
from pixelreasoner.policy.scripted import (
    Script,
    ScriptedPolicy,
    per_conversation,
    per_prompt,
)
from rollout_helpers import (
    ANSWER,
    BROKEN,
    PICTURE,
    RENDERER,
    SELECT,
    TOOLBOX,
    VIDEO,
    ZOOM,
    crop,
    roll_out,
    task,
)

# 10: batches and seeds


class Remembering(ScriptedPolicy):
    """Keeps the requests it was sent, batch by batch."""

    def __init__(self, script: Script) -> None:
        super().__init__(script, RENDERER)
        self.batches: list[list[CompletionRequest]] = []

    def complete_batch(self, requests, on_token=None):
        self.batches.append(list(requests))
        return super().complete_batch(requests, on_token)


def run_batch(conversations: dict[int, list[str]], events: list[Event] | None = None):
    policy = Remembering(per_conversation(list(conversations.values()), RENDERER))
    trajectories = rollout(
        [RolloutRequest(task(), seed) for seed in conversations],
        policy=policy,
        renderer=RENDERER,
        toolbox=TOOLBOX,
        sampling=Sampling(),
        limits=Limits(),
        on_event=None if events is None else events.append,
    )
    return policy.batches, trajectories


TALKS = {11: [ANSWER], 12: [ZOOM, BROKEN, ANSWER], 13: [ZOOM, ANSWER]}


def test_unfinished_rollouts_are_sampled_together():
    batches, trajectories = run_batch(TALKS)
    assert [len(batch) for batch in batches] == [3, 2, 1]
    assert [len(t.turns) for t in trajectories] == [1, 3, 2]
    assert [t.answer for t in trajectories] == ["K"] * 3


def test_requests_do_not_depend_on_the_batch():
    together = {request for batch in run_batch(TALKS)[0] for request in batch}
    alone = {
        request for seed, talk in TALKS.items() for batch in run_batch({seed: talk})[0] for request in batch
    }
    assert together == alone
    seeds = {turn_seed(seed, turn) for seed, talk in TALKS.items() for turn in range(len(talk))}
    assert {request.seed for request in together} == seeds


def test_turn_seeds_are_fixed_and_differ():
    assert turn_seed(0, 0) == turn_seed(0, 0)
    seeds = {turn_seed(seed, turn) for seed in range(100) for turn in range(10)}
    assert len(seeds) == 1000
    assert all(0 <= s < 2**63 for s in seeds)


def test_no_requests_no_trajectories():
    assert run_batch({}) == ([], [])


# 11: events


def test_events_are_complete_and_in_order():
    events: list[Event] = []
    _, trajectories = run_batch({1: ["é " + ZOOM, BROKEN, ANSWER]}, events)
    (t,) = trajectories
    story = [e for e in events if not isinstance(e, TextToken)]
    assert [type(e) for e in story] == [OperationStarted, OperationReturned, OperationReturned, Finished]
    assert story[-1] == Finished(0, t)
    texts = [e.text for e in events if isinstance(e, TextToken)]
    assert "".join(texts) == "".join(turn.text for turn in t.turns)
    assert texts[0] == "é"


def test_events_name_their_request():
    events: list[Event] = []
    _, trajectories = run_batch(TALKS, events)
    for i, t in enumerate(trajectories):
        said = "".join(e.text for e in events if isinstance(e, TextToken) and e.request == i)
        assert said == "".join(turn.text for turn in t.turns)
        assert Finished(i, t) in events


# 12: anything at all


def fuzzed_message(rng: random.Random) -> tuple[int, ...]:
    match rng.randrange(4):
        case 0:
            return tuple(rng.choices(range(VOCABULARY_SIZE), k=rng.randrange(30)))
        case 1:
            text = bytearray(rng.choice([ZOOM, SELECT, BROKEN, ANSWER]).encode())
            for _ in range(rng.randrange(4)):
                text[rng.randrange(len(text))] = rng.choice(b'{}[]",:0123456789.eE-\\ \xff\x00u')
            return (*text, STOP)
        case 2:
            name = rng.choice(["crop_image", "select_frames", "", "\x00", "fly"])
            keys = ["bbox_2d", "target_image", "target_frames", "x"]
            arguments = {key: fuzzed_value(rng) for key in rng.sample(keys, rng.randrange(4))}
            body = {"name": name, "arguments": arguments}
            return (*f"<tool_call>{json.dumps(body)}</tool_call>".encode(), STOP)
        case _:
            box = [rng.choice([-1, 0, 0.5, 3, 7.25, 20, 24, 1e14]) + rng.random() for _ in range(4)]
            return (*crop(*box, target=rng.choice([0, 1, 2, 3, -1])).encode(), STOP)


def fuzzed_value(rng: random.Random) -> object:
    return rng.choice(
        [
            None, True, "", "1", -1, 0, 1, 10**400, 0.5, -1e308, 1e400, float("nan"), float("-inf"), {}, [],
            [1, 2, 3], [0, 0, 9, 9], ["0", 0, 9, 9], [[0], 0, 9, 9], [0, 0, 1e308, 9], [9, 9, 0, 0],
            [None] * 4, {"x1": 0}, list(range(50)), [[[[[[[[[]]]]]]]]], "\ud800", "<tool_call>",
        ]
    )  # fmt: skip


def test_100_000_fuzzed_messages_never_raise():
    rng = random.Random(0)
    n_messages = 0
    stops: set[StopReason] = set()
    n_valid = 0

    def script(request: CompletionRequest, turn: int) -> tuple[int, ...]:
        nonlocal n_messages
        n_messages += 1
        return fuzzed_message(rng)

    prompt = RENDERER.n_tokens(roll_out(ANSWER, media=(VIDEO,)).segments[0], prompt=True)
    tight = (
        {},
        {"max_tokens": 2000},
        {"max_tokens": prompt + 300},
        {"max_images": 2},
        {"max_operations": 1},
        {"max_turns": 3},
    )
    every_limit = itertools.cycle(Limits(**limit) for limit in tight)
    while n_messages < 100_000:
        trajectories = rollout(
            [RolloutRequest(task(VIDEO) if i % 2 else task(), i) for i in range(2000)],
            policy=ScriptedPolicy(script, RENDERER),
            renderer=RENDERER,
            toolbox=TOOLBOX,
            sampling=Sampling(max_tokens=200),
            limits=next(every_limit),
        )
        for t in trajectories:
            stops.add(t.stop)
            n_valid += t.n_operations
            placeholders = sum(s.ids.count(IMAGE) for s in t.segments[1:])
            assert placeholders == sum(len(s.media) for s in t.segments[1:])
            assert loss_mask(t).sum() == t.n_sampled_tokens
    assert stops == set(StopReason)
    assert n_valid > 1000


# 13: lockstep


class Straggling(ScriptedPolicy):
    """Replays its script, each message after a number of steps of its own."""

    def __init__(self, script: Script, n_steps_late: int) -> None:
        super().__init__(script, RENDERER)
        self._late = n_steps_late
        self.released: list[int] = []
        self.n_steps = 0
        self.together: list[list[int]] = []
        """The requests that are running, step by step."""

    @contextmanager
    def session(self, on_token: OnToken | None = None):
        self._on_token = on_token
        self._waiting: dict[int, tuple[int, Completion]] = {}
        self._request_ids = itertools.count(100)
        yield self

    def submit(self, request: CompletionRequest) -> int:
        request_id = next(self._request_ids)
        [completion] = self.complete_batch([request])
        self._waiting[request_id] = self.n_steps + 1 + request.seed % self._late, completion
        return request_id

    def step(self) -> list[tuple[int, Completion]]:
        assert self._waiting, "a step without a request"
        self.together.append(sorted(self._waiting))
        self.n_steps += 1
        done = [(t, c) for t, (when, c) in self._waiting.items() if when <= self.n_steps]
        for request_id, completion in done:
            del self._waiting[request_id]
            for token in completion.ids if self._on_token else ():
                self._on_token(request_id, token)
        return done[::-1]

    def release(self, request_id: int) -> None:
        self.released.append(request_id)


def straggle(
    n_steps_late: int, toolbox: Toolbox = TOOLBOX
) -> tuple[Straggling, list[Event], list[Trajectory]]:
    """Twelve rollouts with 0 to 3 calls, told apart by their question."""
    talks = {f"Letter {i}?": [*[ZOOM, BROKEN, ZOOM][: i % 4], ANSWER] for i in range(10, 22)}
    policy = Straggling(per_prompt(talks, RENDERER), n_steps_late)
    events: list[Event] = []
    requests = [RolloutRequest(Task(q, q, (PICTURE,), ("K",)), seed) for seed, q in enumerate(talks)]
    done = rollout(
        requests, policy=policy, renderer=RENDERER, toolbox=toolbox,
        sampling=Sampling(), limits=Limits(), on_event=events.append,
    )  # fmt: skip
    return policy, events, done


@pytest.mark.parametrize("n_steps_late", [2, 7, 50])
def test_the_order_of_completion_does_not_matter(n_steps_late):
    policy, events, late = straggle(n_steps_late)
    assert late == straggle(1)[2]
    assert len(policy.released) == 12
    for i, t in enumerate(late):
        said = "".join(e.text for e in events if isinstance(e, TextToken) and e.request == i)
        assert said == "".join(turn.text for turn in t.turns)
        story = [type(e) for e in events if e.request == i and not isinstance(e, TextToken)]
        zoom, broken = [OperationStarted, OperationReturned], [OperationReturned]
        assert story == [*[*zoom, *broken, *zoom][: (0, 2, 3, 5)[len(t.turns) - 1]], Finished]


def test_operations_are_carried_out_while_others_generate():
    """An operation that only ends once more steps were taken: to wait for it at once would take for ever."""
    seen = threading.Event()

    class Slow:
        schemas = TOOLBOX.schemas
        reject = TOOLBOX.reject

        def execute(self, call, context):
            assert seen.wait(timeout=60)
            return TOOLBOX.execute(call, context)

    class Watched(Straggling):
        def step(self):
            if self.n_steps >= 3:
                seen.set()
            return super().step()

    talks = {"first": [ZOOM, ANSWER], "second": [ANSWER]}
    policy = Watched(per_prompt(talks, RENDERER), 1)
    submit = policy.submit

    def late(request: CompletionRequest) -> int:
        request_id = submit(request)
        if "second" in RENDERER.decode(request.segments[0].ids):
            policy._waiting[request_id] = 10, policy._waiting[request_id][1]
        return request_id

    policy.submit = late
    first, second = rollout(
        [RolloutRequest(Task(q, q, (PICTURE,), ("K",)), 0) for q in talks],
        policy=policy, renderer=RENDERER, toolbox=Slow(), sampling=Sampling(), limits=Limits(),
    )  # fmt: skip
    assert (first.n_operations, first.answer, second.answer) == (1, "K", "K")


def test_which_sequences_run_together_does_not_depend_on_the_clock():
    class Dawdling:
        schemas, reject = TOOLBOX.schemas, TOOLBOX.reject

        def execute(self, call, context):
            time.sleep(0.02)
            return TOOLBOX.execute(call, context)

    assert straggle(7, Dawdling())[0].together == straggle(7)[0].together


def test_after_an_interrupt_no_operation_is_begun():
    begun, left = [], threading.Event()

    class Blocked:
        schemas = TOOLBOX.schemas

        def execute(self, call, context):
            begun.append(call)
            assert left.wait(timeout=60)
            return TOOLBOX.execute(call, context)

    class Interrupted(Straggling):
        @contextmanager
        def session(self, on_token: OnToken | None = None):
            try:
                with super().session(on_token) as engine:
                    yield engine
            finally:
                left.set()

        def step(self):
            if self.n_steps == 1:
                raise KeyboardInterrupt
            return super().step()

    talks = {f"Letter {i}?": [ZOOM, ANSWER] for i in range(10, 22)}
    with pytest.raises(KeyboardInterrupt):
        rollout(
            [RolloutRequest(Task(q, q, (PICTURE,), ("K",)), seed) for seed, q in enumerate(talks)],
            policy=Interrupted(per_prompt(talks, RENDERER), 2),
            renderer=RENDERER, toolbox=Blocked(), sampling=Sampling(), limits=Limits(),
        )  # fmt: skip
    assert len(begun) <= 1, "six were asked for"


def test_a_bug_in_an_operation_is_raised():
    class Broken:
        schemas = TOOLBOX.schemas

        def execute(self, call, context):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        straggle(3, Broken())
