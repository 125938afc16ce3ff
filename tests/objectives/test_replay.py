"""Selective Sample Replay.

1. A group without an advantage is neither stored nor returned.
2. A step never replays its own groups, nor one group twice.
3. Large advantages are drawn more often, in the stated proportion.
4. A restored buffer goes on exactly as the original.
5. A group is replayed at most `max_repeats` times.
"""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest

from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory
from pixelreasoner.objectives.replay import ReplayBuffer
from pixelreasoner.objectives.scored_group import ScoredGroup

PICTURE = Picture(np.zeros((2, 2, 3), np.uint8))


def scored(name: str, advantage: float) -> ScoredGroup:
    rollout = Trajectory(Task(name, "Q?", (PICTURE,), ("A",)), (), StopReason.ANSWER)
    return ScoredGroup((rollout, rollout), {}, (1.0, 0.0), (advantage, -advantage))


def names(groups: list[ScoredGroup]) -> list[str]:
    return [group.trajectories[0].task.id for group in groups]


def buffer(
    capacity: int = 100, seed: int = 0, power: float = 1.0, max_repeats: int = 10**6, **options: int
) -> ReplayBuffer:
    generator = np.random.default_rng(seed)
    return ReplayBuffer(capacity, generator, power=power, max_repeats=max_repeats, **options)


def test_uninformative_groups_are_never_stored():
    replay = buffer()
    assert replay.refill([scored("a", 0.0), scored("b", 0.0)], size=2) == []
    assert len(replay) == 0
    assert replay.sample(3) == []


def test_a_step_is_filled_from_earlier_steps_only():
    replay = buffer()
    assert names(replay.refill([scored("a", 1.0), scored("b", 1.0)], size=4)) == ["a", "b"]
    second = names(replay.refill([scored("c", 1.0), scored("d", 0.0)], size=4))
    assert second[0] == "c"
    assert sorted(second[1:]) == ["a", "b"]
    assert len(replay) == 3


def test_fresh_groups_are_never_left_out():
    assert len(buffer().refill([scored(c, 1.0) for c in "abc"], size=2)) == 3


def test_the_oldest_leave_first():
    replay = buffer(capacity=2)
    replay.add([scored(c, 1.0) for c in "abc"])
    assert sorted(names(replay.sample(2))) == ["b", "c"]


def test_the_budget_in_bytes_is_kept_by_the_oldest_leaving_first():
    big = Picture(np.zeros((100, 100, 3), np.uint8))  # 30,000 bytes

    def pictured(name: str) -> ScoredGroup:
        rollout = Trajectory(Task(name, "Q?", (Picture(big.pixels),), ("A",)), (), StopReason.ANSWER)
        return ScoredGroup((rollout, rollout), {}, (1.0, 0.0), (1.0, -1.0))

    replay = buffer(max_bytes=70_000)
    for name, held in [("a", "a"), ("b", "ab"), ("c", "bc"), ("d", "cd")]:
        replay.add([pictured(name)])
        assert sorted(names(replay.sample(9))) == list(held)
    replay = buffer(max_bytes=10_000)
    replay.add([pictured("a")])
    assert len(replay) == 0


def test_clear_ends_the_episode():
    replay = buffer()
    replay.add([scored("a", 1.0)])
    replay.clear()
    assert replay.sample(1) == []


@pytest.mark.parametrize(("power", "share"), [(0.0, 0.5), (1.0, 0.75), (2.0, 0.9)])
def test_draws_are_proportional_to_the_power_of_the_advantage(power, share):
    replay = buffer(power=power)
    replay.add([scored("big", 3.0), scored("small", 1.0)])  # 3 : 1
    drawn = Counter(names(replay.sample(1))[0] for _ in range(4000))
    assert drawn["big"] / 4000 == pytest.approx(share, abs=0.03)  # about 4 standard errors


def test_draws_are_without_replacement():
    replay = buffer()
    replay.add([scored(str(i), 1.0 + i) for i in range(10)])
    for _ in range(50):
        assert len(set(names(replay.sample(6)))) == 6


def test_a_group_leaves_after_its_last_repeat():
    replay = buffer(max_repeats=2)
    replay.add([scored("a", 1.0), scored("b", 1.0)])
    assert [len(replay.sample(2)) for _ in range(3)] == [2, 2, 0]
    # One of three a step: all of them come twice, and then the buffer is empty.
    replay.add([scored(c, 1.0 + i) for i, c in enumerate("abc")])
    drawn = Counter(name for _ in range(7) for name in names(replay.sample(1)))
    assert drawn == {"a": 2, "b": 2, "c": 2}


def test_repeats_survive_a_restart():
    replay, restored = buffer(max_repeats=2), buffer(max_repeats=2)
    replay.add([scored("a", 1.0)])
    replay.sample(1)
    restored.load_state_dict(pickle.loads(pickle.dumps(replay.state_dict())))
    assert names(restored.sample(1)) == ["a"]
    assert restored.sample(1) == []


def test_a_restored_buffer_goes_on_exactly():
    replay = buffer(seed=3)
    replay.add([scored(str(i), 1.0 + i) for i in range(10)])
    replay.sample(2)
    state = pickle.loads(pickle.dumps(replay.state_dict()))
    expected = [names(replay.sample(4)) for _ in range(5)]
    restored = buffer(seed=99)
    restored.load_state_dict(state)
    assert [names(restored.sample(4)) for _ in range(5)] == expected
