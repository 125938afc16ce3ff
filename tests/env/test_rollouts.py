"""Incremental rollouts (rule 14 of `test_rollout.py`), on a clock of events and not of seconds.

* Requests join at any step, and each is answered as if it were alone.
* Free: a slow operation delays only its own conversation. Lockstep: it is waited for.
* A bug in an operation is raised by `step`; the other rollouts can be continued.
* After `close`, and after an interrupt, no thread is left and the policy is free for another session.
"""

from __future__ import annotations

import threading

import pytest

from pixelreasoner.core.errors import MediaError
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason
from pixelreasoner.env.events import MAX_PENDING, Finished, OperationStarted, TextStream, TextToken
from pixelreasoner.env.limits import Limits
from pixelreasoner.env.rollout import RolloutRequest, Rollouts, rollout
from pixelreasoner.policy.base import Sampling
from pixelreasoner.policy.scripted import ScriptedPolicy, per_prompt
from rollout_helpers import ANSWER, PICTURE, RENDERER, TOOLBOX, VIDEO, ZOOM, crop, task

SLOW = crop(0, 0, 20, 20)
TALKS = {"slow": [SLOW, ANSWER], "quick": [ZOOM, ZOOM, ANSWER], "plain": [ANSWER]}


def request(question: str, seed: int = 0, **changes) -> RolloutRequest:
    return RolloutRequest(Task(question, question, (PICTURE,), ("K",)), seed, **changes)


class Tools:
    """The standard operations, with something that happens before one on the whole image."""

    schemas, reject = TOOLBOX.schemas, TOOLBOX.reject

    def __init__(self, before_slow=lambda: None) -> None:
        self._before_slow = before_slow

    def execute(self, call, context):
        if call.arguments["bbox_2d"] == [0, 0, 20, 20]:
            self._before_slow()
        return TOOLBOX.execute(call, context)


def opened(toolbox=TOOLBOX, *, lockstep: bool, policy=None, on_event=None, max_workers: int = 4) -> Rollouts:
    return Rollouts(
        policy=policy or ScriptedPolicy(per_prompt(TALKS, RENDERER), RENDERER),
        renderer=RENDERER, toolbox=toolbox, sampling=Sampling(), limits=Limits(),
        on_event=on_event, lockstep=lockstep, max_workers=max_workers,
    )  # fmt: skip


def finish(rollouts: Rollouts, *requests: RolloutRequest) -> dict:
    """All trajectories, those of `requests` among them."""
    for each in requests:
        rollouts.submit(each)
    done = {}
    while rollouts.n_unfinished:
        done.update(rollouts.step())
    return done


def operation_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("operations")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert operation_threads() == []


# Joining


@pytest.mark.parametrize("lockstep", [True, False])
def test_requests_join_at_any_step(lockstep):
    questions = ["slow", "quick", "plain"] * 3
    alone = {q: finish_one(q) for q in TALKS}
    with opened(lockstep=lockstep) as rollouts:
        ids, done = [], {}
        for question in questions:
            ids.append(rollouts.submit(request(question)))
            done.update(rollouts.step())
        done.update(finish(rollouts))
    assert ids == list(range(9))
    assert [done[id] for id in ids] == [alone[q] for q in questions]


def finish_one(question: str):
    with opened(lockstep=True) as rollouts:
        rollouts.submit(request(question))
        return finish(rollouts)[0]


@pytest.mark.parametrize("lockstep", [True, False])
def test_without_requests_a_step_returns_at_once(lockstep):
    with opened(lockstep=lockstep) as rollouts:
        assert rollouts.n_unfinished == 0
        assert rollouts.step() == []


def test_a_request_may_have_its_own_sampling_and_limits():
    with opened(lockstep=True) as rollouts:
        short = rollouts.submit(request("quick", sampling=Sampling(max_tokens=5)))
        one = rollouts.submit(request("quick", limits=Limits(max_operations=1)))
        usual = rollouts.submit(request("quick"))
        done = finish(rollouts)
    assert done[short].stop == StopReason.TOKEN_LIMIT
    assert (done[one].stop, done[one].n_operations) == (StopReason.TURN_LIMIT, 1)
    assert (done[usual].stop, done[usual].n_operations) == (StopReason.ANSWER, 2)


def test_a_request_that_cannot_be_rendered_joins_nothing():
    with opened(lockstep=False) as rollouts:
        with pytest.raises(MediaError, match="2 videos"):
            rollouts.submit(RolloutRequest(task(VIDEO, VIDEO), 0))
        assert rollouts.n_unfinished == 0


def test_a_rollout_can_be_cancelled():
    leave = threading.Event()
    with opened(Tools(leave.wait), lockstep=False) as rollouts:
        slow, quick = rollouts.submit(request("slow")), rollouts.submit(request("quick"))
        rollouts.step()
        rollouts.cancel(slow)
        assert list(finish(rollouts)) == [quick]
        leave.set()


# Slow operations


def test_a_slow_operation_delays_only_its_own_conversation():
    """It returns only when the others have finished: who waited for it would wait for ever."""
    others_finished = threading.Event()

    def wait():
        assert others_finished.wait(timeout=60)

    with opened(Tools(wait), lockstep=False) as rollouts:
        slow = rollouts.submit(request("slow"))
        others = [rollouts.submit(request(q)) for q in ("quick", "plain", "quick")]
        done = {}
        while len(done) < len(others):
            done.update(rollouts.step())
        assert sorted(done) == others
        late = rollouts.submit(request("plain"))
        assert rollouts.step() == [(late, done[others[1]])]
        others_finished.set()
        assert finish(rollouts)[slow].answer == "K"


def test_slow_operations_run_side_by_side():
    """Each waits for the other."""
    both = threading.Barrier(2, timeout=60)
    with opened(Tools(both.wait), lockstep=False) as rollouts:
        ids = [rollouts.submit(request("slow", seed)) for seed in range(2)]
        assert sorted(finish(rollouts)) == ids


def test_no_more_operations_run_than_there_are_workers():
    running, most, lock = [0], [0], threading.Lock()

    def count():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.01)
        with lock:
            running[0] -= 1

    with opened(Tools(count), lockstep=False, max_workers=2) as rollouts:
        for seed in range(6):
            rollouts.submit(request("slow", seed))
        assert len(finish(rollouts)) == 6
        assert len(operation_threads()) <= 2
    assert most[0] <= 2


def test_while_all_wait_a_free_step_returns_soon():
    """So that requests which come meanwhile are served."""
    leave = threading.Event()
    with opened(Tools(lambda: leave.wait(60)), lockstep=False) as rollouts:
        rollouts.submit(request("slow"))
        assert [rollouts.step() for _ in range(4)] == [[]] * 4
        late = rollouts.submit(request("plain"))
        assert [id for id, _ in rollouts.step()] == [late]
        leave.set()
        assert list(finish(rollouts)) == [0]


def test_free_and_lockstep_give_the_same_trajectories():
    questions = ["slow", "quick", "plain"] * 5
    found = []
    for lockstep in (True, False):
        with opened(Tools(lambda: threading.Event().wait(0.005)), lockstep=lockstep) as rollouts:
            for seed, question in enumerate(questions):
                rollouts.submit(request(question, seed))
            found.append(finish(rollouts))
    assert found[0] == found[1]


# Bugs, interrupts, closing


class Bug(Exception):
    pass


def fail():
    raise Bug


@pytest.mark.parametrize("lockstep", [True, False])
def test_a_bug_in_an_operation_is_raised_and_the_others_go_on(lockstep):
    with opened(Tools(fail), lockstep=lockstep) as rollouts:
        rollouts.submit(request("slow"))
        others = [rollouts.submit(request(q)) for q in ("quick", "plain")]
        done, bugs = {}, 0
        while rollouts.n_unfinished:
            try:
                done.update(rollouts.step())
            except Bug:
                bugs += 1
    assert (bugs, sorted(done)) == (1, others)


@pytest.mark.parametrize("lockstep", [True, False])
def test_a_bug_ends_a_rollout_that_does_not_catch_it(lockstep):
    with pytest.raises(Bug), opened(Tools(fail), lockstep=lockstep) as rollouts:
        finish(rollouts, request("slow"), request("quick"))


@pytest.mark.parametrize("lockstep", [True, False])
def test_close_drops_what_is_not_finished_and_ends_the_session(lockstep):
    begun, ended = [], []

    class Session(ScriptedPolicy):
        def session(self, on_token=None):
            inner = super().session(on_token)

            class Watched:
                def __enter__(self):
                    begun.append(1)
                    return inner.__enter__()

                def __exit__(self, *error):
                    ended.append(1)
                    return inner.__exit__(*error)

            return Watched()

    rollouts = opened(lockstep=lockstep, policy=Session(per_prompt(TALKS, RENDERER), RENDERER))
    rollouts.submit(request("quick"))
    rollouts.step()
    rollouts.close()
    assert rollouts.n_unfinished == 0
    rollouts.close()
    assert (begun, ended) == ([1], [1])


@pytest.mark.parametrize("lockstep", [True, False])
def test_an_interrupt_leaves_no_thread(lockstep):
    def interrupted(event):
        if isinstance(event, OperationStarted) and event.request == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), opened(lockstep=lockstep, on_event=interrupted) as rollouts:
        finish(rollouts, *(request("quick", seed) for seed in range(3)))
    assert operation_threads() == []


def test_an_operation_that_hangs_does_not_hold_up_close(monkeypatch):
    monkeypatch.setattr("pixelreasoner.env.rollout.CLOSE_TIMEOUT_S", 0.01)
    leave = threading.Event()
    rollouts = opened(Tools(lambda: leave.wait(60)), lockstep=False)
    rollouts.submit(request("slow"))
    rollouts.step()
    rollouts.close()
    [thread] = operation_threads()
    assert thread.daemon, "the program could not end"
    leave.set()
    thread.join(timeout=60)


# Text as it comes


def streamed(tokens: list[int]) -> tuple[list[str], int]:
    """The texts that are emitted, and the most tokens that are decoded in one go."""
    most = [0]

    class Counting:
        def decode(self, ids):
            most[0] = max(most[0], len(ids))
            return RENDERER.decode(ids)

    events: list[TextToken] = []
    stream = TextStream(7, Counting(), events.append)  # pyright: ignore[reportArgumentType]
    for token in tokens:
        stream.push(token)
    stream.flush()
    assert {e.request for e in events} <= {7}
    return [e.text for e in events], most[0]


def test_characters_are_emitted_whole():
    assert streamed(list("aé🙂z".encode()))[0] == ["a", "é", "🙂", "z"]


@pytest.mark.parametrize(
    "junk", [b"\x80" * 500, b"\xf0\x9f" * 300, b"\xe2" * 400 + "é🙂".encode() + b"\xff" * 100, b"\xc3"]
)
def test_bytes_that_are_no_text_are_emitted_in_constant_time_per_token(junk):
    texts, most = streamed(list(junk))
    assert "".join(texts) == junk.decode(errors="replace")
    assert most <= MAX_PENDING + 1


def test_events_of_rollout_are_numbered_by_request():
    events = []
    rollout(
        [request(q) for q in TALKS], policy=ScriptedPolicy(per_prompt(TALKS, RENDERER), RENDERER),
        renderer=RENDERER, toolbox=TOOLBOX, sampling=Sampling(), limits=Limits(), on_event=events.append,
    )  # fmt: skip
    finished = {e.request: e.trajectory.task.id for e in events if isinstance(e, Finished)}
    assert finished == dict(enumerate(TALKS))
