r"""The contract of the interaction loop.

 1. A conversation is prompt, message, observation, message, ...; it ends when a message asks for nothing.
 2. Every sampled token is recorded once, with its log-probability; nothing else is in `sampled`.
 3. What the model sees of an operation is `observed`; a missing stop token is put there, never in `sampled`.
 4. Each new image can be the target of the next operation; a video has no number, its frames get one.
 5. A broken call and a failed operation are invalid observations, and the conversation goes on.
 6. A call wins over an answer in the same message.
 7. A message that was cut says nothing. Its tokens stay.
 8. Limits: operations and turns -> TURN_LIMIT, images -> IMAGE_LIMIT, tokens -> TOKEN_LIMIT.
 9. Without a toolbox no operation is offered, and a call is text.
10. Requests of an attempt depend on its seed and turn only, never on the batch.
11. Events tell the whole story, in order, in whole characters.
12. Nothing a model says raises: 100,000 fuzzed messages.
13. With an engine, messages and operations are completed in any order, and nothing waits for the slowest:
    what comes out is the same. Who speaks together does not depend on how long an operation takes.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from pixelreasoner.chat.plain import ASSISTANT, IMAGE, STOP, USER, VOCABULARY_SIZE, PlainRenderer
from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory
from pixelreasoner.env.events import Event, Finished, OperationReturned, OperationStarted, TextToken
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import Attempt, rollout, turn_seed
from pixelreasoner.objectives.samples import loss_mask
from pixelreasoner.ops.toolbox import Toolbox, standard_toolbox
from pixelreasoner.policy.base import Completion, OnToken, Request, Sampling
from pixelreasoner.policy.scripted import (
    Script,
    ScriptedMessage,
    ScriptedPolicy,
    per_conversation,
    per_prompt,
)

RENDERER = PlainRenderer()
TOOLBOX = standard_toolbox(
    unit=RENDERER.unit,
    crop_reply=RENDERER.dialect.crop_reply,
    frames_reply=RENDERER.dialect.frames_reply,
    error_reply=RENDERER.dialect.error_reply,
)
NOISE = np.random.default_rng(0).integers(0, 256, (16, 20, 24, 3), dtype=np.uint8)
PICTURE = Picture(NOISE[0])
VIDEO = Video(tuple(Picture(frame) for frame in NOISE))


def task(*media: Media) -> Task:
    return Task("t", "Which letter?", media or (PICTURE,), ("K",))


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def crop(*bbox: float, target: int = 1) -> str:
    return call("crop_image", bbox_2d=bbox, target_image=target)


ZOOM = crop(2, 4, 14, 16)
SELECT = call("select_frames", target_frames=[5, 2])
BROKEN = "<tool_call>oops</tool_call>"
ANSWER = r"It reads K. \boxed{K}"


def play(
    *messages: ScriptedMessage,
    media: tuple[Media, ...] = (),
    tools: bool = True,
    max_tokens: int = 1000,
    limits: Limits | None = None,
) -> Trajectory:
    (trajectory,) = rollout(
        [Attempt(task(*media), seed=0)],
        policy=ScriptedPolicy(messages, RENDERER, weight_version=3),
        renderer=RENDERER,
        toolbox=TOOLBOX if tools else None,
        sampling=Sampling(max_tokens=max_tokens),
        limits=limits or Limits(),
    )
    return trajectory


# 1, 2, 3: what is recorded


def test_zoom_then_answer():
    t = play("Tiny. " + ZOOM, ANSWER)
    first, last = t.turns
    assert (t.stop, t.answer, t.weight_version) == (StopReason.ANSWER, "K", 3)
    assert first.text == "Tiny. " + ZOOM
    assert first.call == ToolCall("crop_image", {"bbox_2d": [2, 4, 14, 16], "target_image": 1})
    assert first.observation is not None
    assert first.observation.valid
    np.testing.assert_array_equal(first.observation.images[0].pixels, NOISE[0][4:16, 2:14])
    assert (last.text, last.call, last.observation, last.observed) == (ANSWER, None, None, None)
    assert (t.n_operations, t.n_invalid_operations, t.used_pixel_space) == (1, 0, True)


def test_tokens_are_recorded_once_and_as_sampled():
    t = play(ZOOM, ANSWER)
    first, last = t.turns
    assert first.sampled is not None
    assert last.sampled is not None
    assert first.observed is not None
    assert first.sampled.ids == (*ZOOM.encode(), STOP)
    assert last.sampled.ids == (*ANSWER.encode(), STOP)
    assert first.sampled.logprobs == (0.0,) * len(first.sampled.ids)
    assert first.observed.ids[0] == USER
    assert first.observed.ids[-2:] == (IMAGE, ASSISTANT)
    assert first.observed.logprobs == ()
    assert t.segments == (t.prompt, first.sampled, first.observed, last.sampled)
    learned = np.concatenate([s.ids for s in t.segments])[loss_mask(t)]
    assert learned.tolist() == [*first.sampled.ids, *last.sampled.ids]


class NoStopToken:
    """Like an HTTP policy: it stops, and its stop token is not among its tokens."""

    def sample(
        self, requests: list[Request], sampling: Sampling, on_token: OnToken | None = None
    ) -> list[Completion]:
        texts = [ZOOM if len(r.segments) == 1 else ANSWER for r in requests]
        return [Completion(tuple(t.encode()), (-0.5,) * len(t), "stop") for t in texts]


def test_a_missing_stop_token_is_observed_not_sampled():
    (t,) = rollout(
        [Attempt(task(), 0)], policy=NoStopToken(), renderer=RENDERER, toolbox=TOOLBOX,
        sampling=Sampling(), limits=Limits(),
    )  # fmt: skip
    first = t.turns[0]
    assert first.sampled is not None
    assert first.observed is not None
    assert first.sampled.ids == tuple(ZOOM.encode())
    assert first.observed.ids[:2] == (STOP, USER)
    assert t.answer == "K"


def test_a_message_ends_with_its_first_stop_token():
    t = play((*ANSWER.encode(), STOP, *b"\\boxed{Z}", STOP))
    assert t.answer == "K"
    assert t.turns[0].sampled is not None
    assert t.turns[0].sampled.ids == (*ANSWER.encode(), STOP)


def test_an_empty_message_ends_the_attempt_without_an_answer():
    t = play((STOP,))
    assert (t.stop, t.answer, t.turns[0].text) == (StopReason.ANSWER, None, "")


# 4: targets


def test_a_crop_of_a_crop_has_original_pixels():
    t = play(ZOOM, crop(1, 2, 7, 9, target=2), crop(0, 0, 4, 4, target=3), ANSWER)
    second, third = (turn.observation for turn in t.turns[1:3])
    assert second is not None
    assert third is not None
    np.testing.assert_array_equal(second.images[0].pixels, NOISE[0][6:13, 3:9])
    np.testing.assert_array_equal(third.images[0].pixels, NOISE[0][6:10, 3:7])
    assert t.n_operations == 3


def test_frames_of_a_video_become_images():
    t = play(crop(0, 0, 8, 8), SELECT, crop(0, 0, 8, 8, target=2), ANSWER, media=(VIDEO,))
    too_early, frames, cut = (turn.observation for turn in t.turns[:3])
    assert too_early is not None
    assert not too_early.valid
    assert frames is not None
    assert frames.frames == (5, 2)
    assert frames.images == (VIDEO.frames[4], VIDEO.frames[1])
    assert cut is not None
    np.testing.assert_array_equal(cut.images[0].pixels, NOISE[1][:8, :8])


def test_pictures_beside_a_video_are_numbered_in_order():
    other = Picture(NOISE[7])
    t = play(crop(0, 0, 6, 6, target=2), ANSWER, media=(PICTURE, VIDEO, other))
    assert t.turns[0].observation is not None
    np.testing.assert_array_equal(t.turns[0].observation.images[0].pixels, NOISE[7][:6, :6])


def test_two_videos_are_the_users_mistake():
    with pytest.raises(MediaError, match="2 videos"):
        play(ANSWER, media=(VIDEO, VIDEO))


# 5, 6, 7: what a model can do wrong


@pytest.mark.parametrize(
    "bad", [BROKEN, call("fly"), crop(0, 0, 5, 5, target=9), crop(5, 5, 5, 5), call("select_frames")]
)
def test_a_bad_call_is_an_observation_and_the_conversation_goes_on(bad):
    t = play(bad, ZOOM, ANSWER)
    refused = t.turns[0].observation
    assert refused is not None
    assert not refused.valid
    assert refused.images == ()
    assert t.turns[0].asked_operation
    assert t.turns[0].observed is not None
    assert (t.n_operations, t.n_invalid_operations, t.answer) == (1, 1, "K")


def test_a_call_wins_over_an_answer():
    t = play(r"\boxed{Z} " + ZOOM, ANSWER)
    assert (t.n_operations, t.answer) == (1, "K")


def test_the_answer_is_that_of_the_last_message():
    assert play(r"\boxed{Z} " + ZOOM, "I cannot tell.").answer is None


@pytest.mark.parametrize("message", [ANSWER, ZOOM])
def test_a_cut_message_says_nothing(message):
    n = len(message)  # all but the stop token
    t = play(message, max_tokens=n)
    assert (t.stop, t.answer, t.n_operations) == (StopReason.TOKEN_LIMIT, None, 0)
    assert t.turns[0].call is None
    assert t.turns[0].sampled is not None
    assert t.turns[0].sampled.ids == tuple(message.encode())


def test_a_media_token_cannot_be_said():
    t = play((*b"look", IMAGE, *ANSWER.encode(), STOP))
    assert (t.stop, t.answer) == (StopReason.TOKEN_LIMIT, None)
    assert t.turns[0].sampled is not None
    assert t.turns[0].sampled.ids == tuple(b"look")
    assert len(t.turns[0].sampled.logprobs) == 4


# 8: limits


def test_no_operation_beyond_the_limit():
    t = play(ZOOM, ZOOM, ZOOM, limits=Limits(max_operations=2))
    assert (t.stop, t.n_operations, len(t.turns)) == (StopReason.TURN_LIMIT, 2, 3)
    assert t.turns[2].call is not None
    assert t.turns[2].observation is None


def test_an_answer_after_the_last_operation_counts():
    assert play(ZOOM, ZOOM, ANSWER, limits=Limits(max_operations=2)).answer == "K"


def test_broken_calls_cost_turns_not_operations():
    t = play(BROKEN, BROKEN, ZOOM, BROKEN, ANSWER, limits=Limits(max_operations=2))
    assert (t.n_operations, t.n_invalid_operations, t.answer) == (1, 3, "K")
    t = play(BROKEN, BROKEN, BROKEN, limits=Limits(max_turns=3))
    assert (t.stop, len(t.turns), t.n_invalid_operations) == (StopReason.TURN_LIMIT, 3, 2)


def test_one_turn_is_for_the_answer():
    t = play(ZOOM, limits=Limits(max_turns=1))
    assert (t.stop, t.n_operations) == (StopReason.TURN_LIMIT, 0)
    assert play(ANSWER, limits=Limits(max_turns=1)).answer == "K"


def test_image_limit():
    t = play(ZOOM, ZOOM, limits=Limits(max_images=2))
    assert (t.stop, len(t.turns)) == (StopReason.IMAGE_LIMIT, 2)
    last = t.turns[1]
    assert last.observation is not None
    assert len(last.observation.images) == 1
    assert last.observed is None
    assert sum(s.ids.count(IMAGE) for s in t.segments) == 2


@pytest.mark.parametrize("budget", range(1, 400, 7))
def test_token_budget_is_never_exceeded(budget):
    t = play(ZOOM, ZOOM, ANSWER, limits=Limits(max_tokens=budget))
    spent = sum(len(s.ids) for s in t.segments[1:])
    assert spent <= budget
    assert t.stop == StopReason.TOKEN_LIMIT or t.answer == "K"


def test_token_budget_fits_exactly():
    whole = play(ZOOM, ANSWER)
    spent = sum(len(s.ids) for s in whole.segments[1:])
    assert play(ZOOM, ANSWER, limits=Limits(max_tokens=spent)) == whole
    assert play(ZOOM, ANSWER, limits=Limits(max_tokens=spent - 1)).stop == StopReason.TOKEN_LIMIT


# 9: text only


def test_without_a_toolbox_a_call_is_text():
    t = play(ZOOM + " " + ANSWER, tools=False)
    assert (t.stop, t.answer, len(t.turns), t.n_operations) == (StopReason.ANSWER, "K", 1, 0)
    assert t.turns[0].call is None
    assert t.prompt is not None
    assert "crop_image" not in RENDERER.decode(t.prompt.ids)


# 10: batches and seeds


class Remembering(ScriptedPolicy):
    """Keeps the requests it was sent, batch by batch."""

    def __init__(self, script: Script) -> None:
        super().__init__(script, RENDERER)
        self.batches: list[list[Request]] = []

    def sample(self, requests, sampling, on_token=None):
        self.batches.append(list(requests))
        return super().sample(requests, sampling, on_token)


def run_batch(conversations: dict[int, list[str]], events: list[Event] | None = None):
    policy = Remembering(per_conversation(list(conversations.values()), RENDERER))
    trajectories = rollout(
        [Attempt(task(), seed) for seed in conversations],
        policy=policy,
        renderer=RENDERER,
        toolbox=TOOLBOX,
        sampling=Sampling(),
        limits=Limits(),
        on_event=None if events is None else events.append,
    )
    return policy.batches, trajectories


TALKS = {11: [ANSWER], 12: [ZOOM, BROKEN, ANSWER], 13: [ZOOM, ANSWER]}


def test_unfinished_attempts_are_sampled_together():
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


def test_no_attempts_no_trajectories():
    assert run_batch({}) == ([], [])


# 11: events


def test_events_tell_the_story_in_order():
    events: list[Event] = []
    _, trajectories = run_batch({1: ["é " + ZOOM, BROKEN, ANSWER]}, events)
    (t,) = trajectories
    story = [e for e in events if not isinstance(e, TextToken)]
    assert [type(e) for e in story] == [OperationStarted, OperationReturned, OperationReturned, Finished]
    assert story[-1] == Finished(0, t)
    texts = [e.text for e in events if isinstance(e, TextToken)]
    assert "".join(texts) == "".join(turn.text for turn in t.turns)
    assert texts[0] == "é"


def test_events_name_their_attempt():
    events: list[Event] = []
    _, trajectories = run_batch(TALKS, events)
    for i, t in enumerate(trajectories):
        said = "".join(e.text for e in events if isinstance(e, TextToken) and e.attempt == i)
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

    def script(request: Request, turn: int) -> tuple[int, ...]:
        nonlocal n_messages
        n_messages += 1
        return fuzzed_message(rng)

    tight = ({}, {"max_tokens": 300}, {"max_images": 2}, {"max_operations": 1}, {"max_turns": 3})
    every_limit = itertools.cycle(Limits(**limit) for limit in tight)
    while n_messages < 100_000:
        trajectories = rollout(
            [Attempt(task(VIDEO) if i % 2 else task(), i) for i in range(2000)],
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


# 13: engines


class Straggling(ScriptedPolicy):
    """Says what its script says, a token per step, each message after a delay of its own."""

    def __init__(self, script: Script, n_steps_late: int) -> None:
        super().__init__(script, RENDERER)
        self._late = n_steps_late
        self.released: list[int] = []
        self.n_steps = 0
        self.together: list[list[int]] = []
        """Who waits for a message, step by step."""

    @contextmanager
    def session(self, sampling: Sampling, on_token: OnToken | None = None):
        self._sampling, self._on_token = sampling, on_token
        self._waiting: dict[int, tuple[int, Completion]] = {}
        self._tickets = itertools.count(100)
        yield self

    def submit(self, request: Request) -> int:
        ticket = next(self._tickets)
        [completion] = self.sample([request], self._sampling)
        self._waiting[ticket] = self.n_steps + 1 + request.seed % self._late, completion
        return ticket

    def step(self) -> list[tuple[int, Completion]]:
        assert self._waiting, "a step for nobody"
        self.together.append(sorted(self._waiting))
        self.n_steps += 1
        done = [(t, c) for t, (when, c) in self._waiting.items() if when <= self.n_steps]
        for ticket, completion in done:
            del self._waiting[ticket]
            for token in completion.ids if self._on_token else ():
                self._on_token(ticket, token)
        return done[::-1]

    def release(self, ticket: int) -> None:
        self.released.append(ticket)


def straggle(
    n_steps_late: int, toolbox: Toolbox = TOOLBOX
) -> tuple[Straggling, list[Event], list[Trajectory]]:
    """Twelve attempts that ask 0 to 3 times, told apart by their question."""
    talks = {f"Letter {i}?": [*[ZOOM, BROKEN, ZOOM][: i % 4], ANSWER] for i in range(10, 22)}
    policy = Straggling(per_prompt(talks, RENDERER), n_steps_late)
    events: list[Event] = []
    attempts = [Attempt(Task(q, q, (PICTURE,), ("K",)), seed) for seed, q in enumerate(talks)]
    done = rollout(
        attempts, policy=policy, renderer=RENDERER, toolbox=toolbox,
        sampling=Sampling(), limits=Limits(), on_event=events.append,
    )  # fmt: skip
    return policy, events, done


@pytest.mark.parametrize("n_steps_late", [2, 7, 50])
def test_the_order_of_completion_does_not_matter(n_steps_late):
    policy, events, late = straggle(n_steps_late)
    assert late == straggle(1)[2]
    assert len(policy.released) == 12
    for i, t in enumerate(late):
        said = "".join(e.text for e in events if isinstance(e, TextToken) and e.attempt == i)
        assert said == "".join(turn.text for turn in t.turns)
        story = [type(e) for e in events if e.attempt == i and not isinstance(e, TextToken)]
        zoom, broken = [OperationStarted, OperationReturned], [OperationReturned]
        assert story == [*[*zoom, *broken, *zoom][: (0, 2, 3, 5)[len(t.turns) - 1]], Finished]


def test_operations_are_carried_out_while_others_speak():
    """An operation that only ends once more steps were taken: to wait for it at once would take for ever."""
    seen = threading.Event()

    class Slow:
        schemas = TOOLBOX.schemas
        reject = TOOLBOX.reject

        def execute(self, call, scene):
            assert seen.wait(timeout=60)
            return TOOLBOX.execute(call, scene)

    class Watched(Straggling):
        def step(self):
            if self.n_steps >= 3:
                seen.set()
            return super().step()

    talks = {"first": [ZOOM, ANSWER], "second": [ANSWER]}
    policy = Watched(per_prompt(talks, RENDERER), 1)
    submit = policy.submit

    def late(request: Request) -> int:
        ticket = submit(request)
        if "second" in RENDERER.decode(request.segments[0].ids):
            policy._waiting[ticket] = 10, policy._waiting[ticket][1]
        return ticket

    policy.submit = late
    first, second = rollout(
        [Attempt(Task(q, q, (PICTURE,), ("K",)), 0) for q in talks],
        policy=policy, renderer=RENDERER, toolbox=Slow(), sampling=Sampling(), limits=Limits(),
    )  # fmt: skip
    assert (first.n_operations, first.answer, second.answer) == (1, "K", "K")


def test_who_speaks_together_does_not_depend_on_the_clock():
    class Dawdling:
        schemas, reject = TOOLBOX.schemas, TOOLBOX.reject

        def execute(self, call, scene):
            time.sleep(0.02)
            return TOOLBOX.execute(call, scene)

    assert straggle(7, Dawdling())[0].together == straggle(7)[0].together


def test_after_an_interrupt_no_operation_is_begun():
    begun, left = [], threading.Event()

    class Blocked:
        schemas = TOOLBOX.schemas

        def execute(self, call, scene):
            begun.append(call)
            assert left.wait(timeout=60)
            return TOOLBOX.execute(call, scene)

    class Interrupted(Straggling):
        @contextmanager
        def session(self, sampling: Sampling, on_token: OnToken | None = None):
            try:
                with super().session(sampling, on_token) as engine:
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
            [Attempt(Task(q, q, (PICTURE,), ("K",)), seed) for seed, q in enumerate(talks)],
            policy=Interrupted(per_prompt(talks, RENDERER), 2),
            renderer=RENDERER, toolbox=Blocked(), sampling=Sampling(), limits=Limits(),
        )  # fmt: skip
    assert len(begun) <= 1, "six were asked for"


def test_a_bug_in_an_operation_is_raised():
    class Broken:
        schemas = TOOLBOX.schemas

        def execute(self, call, scene):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        straggle(3, Broken())
