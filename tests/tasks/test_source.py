"""Sources of tasks: by position, filtered by an index, repeated by epochs."""

from __future__ import annotations

import pickle
from collections import Counter
from functools import partial
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.task import Task
from pixelreasoner.tasks.mixture import Mixture, cycle_of, whole_weights
from pixelreasoner.tasks.pixelworld import KINDS, PixelWorld, WorldConfig
from pixelreasoner.tasks.pixelworld.source import PixelWorldTasks, pixelworld
from pixelreasoner.tasks.source import FirstTasks, IndexedTasks, TaskLabel, cycled, epoch_order, indexed

LABELS = [TaskLabel("ab"[i % 2], (None, True, False)[i % 3]) for i in range(12)]


def task_at(i: int) -> Task:
    return Task(
        f"t{i}", "Q?", (), ("A",), kind=LABELS[i % 12].kind, needs_operation=LABELS[i % 12].needs_operation
    )


def finite(n: int = 12) -> IndexedTasks:
    return IndexedTasks([LABELS[i % 12] for i in range(n)], partial(map, task_at))


def ids(tasks) -> list[str]:
    return [t.id for t in tasks]


# ------------------------------------------------------------------------------------------ finite


def test_tasks_come_by_position_and_end_with_the_source():
    source = finite()
    assert source.size == 12
    assert source.kinds == ("a", "b")
    assert ids(source.take(3, 2)) == ["t3", "t4"]
    assert ids(source.take(10, 5)) == ["t10", "t11"]
    assert ids(source.take(12, 1)) == []


def test_a_selection_filters_by_label_and_makes_no_task():
    def read(positions):
        raise AssertionError("no task was asked for")

    source = IndexedTasks(LABELS, read).select(kind="a", needs_operation=True)
    assert source.size == 2
    assert finite().needs("a") == {None, True, False}
    assert source.needs("a") == {True}
    assert source.needs("b") == frozenset()
    assert source.kinds == ("a",)


def test_a_selection_keeps_the_order_and_may_be_narrowed():
    # Kind a: even numbers; needs an operation: 1, 4, 7, 10.
    assert ids(finite().select(kind="a").take(0, 9)) == ["t0", "t2", "t4", "t6", "t8", "t10"]
    assert ids(finite().select(needs_operation=True).take(0, 9)) == ["t1", "t4", "t7", "t10"]
    assert ids(finite().select(kind="a").select(needs_operation=True).take(0, 9)) == ["t4", "t10"]
    assert ids(finite().select(kind=("a", "b"), needs_operation=False).take(1, 2)) == ["t5", "t8"]


def test_an_unknown_kind_is_the_users_mistake():
    with pytest.raises(ConfigError, match="no task of kind 'c' here; the kinds are a, b"):
        finite().select(kind="c")


def test_a_source_can_be_sent_to_another_process():
    assert ids(pickle.loads(pickle.dumps(finite().select(kind="b"))).take(0, 2)) == ["t1", "t3"]


class Unindexed:
    """A user's source that only knows its tasks."""

    size, kinds = 5, ("a", "b")

    def take(self, start, n):
        return (task_at(i) for i in range(start, min(start + n, 5)))

    def select(self, *, kind=None, needs_operation=None):
        raise NotImplementedError

    def needs(self, kind):
        raise NotImplementedError


def test_a_source_without_an_index_is_given_one():
    assert ids(indexed(Unindexed()).select(kind="b").take(0, 9)) == ["t1", "t3"]


def test_the_first_tasks_of_an_endless_source():
    source = FirstTasks(cycled(finite(), None), 15)
    assert source.size == 15
    assert ids(source.take(11, 9)) == ["t11", "t0", "t1", "t2"]
    assert source.select(kind="a").size == 15


# ------------------------------------------------------------------------------------------ epochs


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 2**32), st.integers(0, 30))
def test_every_epoch_holds_every_task_once(n, epoch, seed, start):
    source = cycled(finite(n), seed)
    assert source.size is None
    assert sorted(ids(source.take(epoch * n, n))) == sorted(ids(finite(n).take(0, n)))
    # Resumable from any position: nothing depends on what was taken before.
    assert ids(source.take(start, 7)) == list(
        chain.from_iterable(ids(source.take(start + i, 1)) for i in range(7))
    )


def test_without_a_seed_epochs_keep_the_order_and_with_one_they_differ():
    assert ids(cycled(finite(3), None).take(1, 5)) == ["t1", "t2", "t0", "t1", "t2"]
    assert list(epoch_order(0, 0, 50)) != list(epoch_order(0, 1, 50)) != list(range(50))
    assert list(epoch_order(7, 3, 50)) == list(epoch_order(7, 3, 50))


def test_an_endless_source_needs_no_epochs_and_an_empty_one_has_none():
    endless = cycled(finite(), 0)
    assert cycled(endless, 1) is endless
    with pytest.raises(ConfigError, match="no tasks to repeat"):
        cycled(finite().select(kind="a", needs_operation=True).select(needs_operation=False), 0)


# ---------------------------------------------------------------------------------------- mixtures


WEIGHTS = st.lists(st.integers(1, 50), min_size=1, max_size=7)


@given(WEIGHTS)
def test_proportions_are_exact_within_one_at_every_position(weights):
    whole = whole_weights(weights)
    given, total = Counter(), sum(whole)
    for position, which in enumerate(cycle_of(whole), start=1):
        given[which] += 1
        assert all(abs(given[k] * total - position * w) < total for k, w in enumerate(whole))
    assert [given[k] for k in range(len(whole))] == list(whole)


@given(WEIGHTS, st.integers(0, 400), st.integers(0, 40))
def test_a_mixture_resumes_at_any_position_and_no_part_skips_a_task(weights, start, n):
    parts = [
        cycled(IndexedTasks([TaskLabel()] * 9, lambda at, k=k: (Task(f"{k}/{i}", "", (), ()) for i in at)), k)
        for k in range(len(weights))
    ]
    mixture = Mixture(parts, weights)
    whole = ids(mixture.take(0, start + n))
    assert ids(mixture.take(start, n)) == whole[start:]
    for k, part in enumerate(parts):
        mine = [i for i in whole if i.startswith(f"{k}/")]
        assert mine == ids(part.take(0, len(mine)))


def test_weights_are_read_as_they_are_written():
    assert whole_weights([0.7, 0.3]) == (7, 3)
    assert whole_weights([1, 1, 2.5]) == (2, 2, 5)
    assert whole_weights([4.0, 8.0]) == (1, 2)
    with pytest.raises(ConfigError, match="write them with fewer digits"):
        whole_weights([0.3333333, 0.6666667])


def test_a_selection_of_a_mixture_keeps_the_parts_that_have_such_tasks():
    only_a = cycled(finite().select(kind="a"), None)
    both = cycled(finite(), None)
    mixture = Mixture([only_a, both], [3, 1])
    assert mixture.kinds == ("a", "b")
    assert {t.kind for t in mixture.select(kind="b").take(0, 8)} == {"b"}
    assert mixture.needs("b") == {None, True, False}
    with pytest.raises(ConfigError, match="the kinds are a, b"):
        mixture.select(kind="c")


# -------------------------------------------------------------------------------------- PixelWorld


@given(st.integers(0, 60), st.integers(0, 20), st.sampled_from([0.0, 0.04, 0.5, 1.0]))
def test_pixelworld_gives_its_stream_and_each_selection_directly(start, n, share):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            PixelWorld, "task",
            lambda self, split, kind, index, *, needs_operation: (split, kind, index, needs_operation),
        )  # fmt: skip
        world = PixelWorld(WorldConfig(seed=3, needs_operation_share=share))
        source = pixelworld(split="rl", seed=3, needs_operation_share=share)
        assert list(source.take(start, n)) == list(world.tasks("rl", n, start=start))
        for kind, needs in (("count", True), ("clip", False)):
            chosen = source.select(kind=kind, needs_operation=needs)
            assert list(chosen.take(start, n)) == [("rl", kind, i, needs) for i in range(start, start + n)]
        # One kind with any need is the stream without the others.
        stream = [t for t in world.tasks("rl", 5 * (start + n)) if t[1] == "page"]
        assert list(source.select(kind="page").take(start, n)) == stream[start : start + n]


def test_a_task_of_pixelworld_is_the_worlds_to_the_bit():
    source = pixelworld(split="test")
    world = PixelWorld()
    assert list(source.take(2, 2)) == list(world.tasks("test", 2, start=2))
    (task,) = source.select(kind="count", needs_operation=True).take(1, 1)
    assert task == world.task("test", "count", 1, needs_operation=True)


def test_what_pixelworld_has():
    source = pixelworld(split="train", kinds=("count", "page"))
    assert (source.size, source.kinds) == (None, ("count", "page"))
    assert source.needs("count") == {True, False}
    assert source.needs("clip") == frozenset()
    assert source.select(needs_operation=True).needs("page") == {True}
    assert PixelWorldTasks(PixelWorld(), "train").kinds == KINDS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "no split 'dev'; its splits are base, train, rl, test"),
        ({"split": "train", "speed": 1}, "'speed'.*Allowed: seed, kinds"),
        ({"split": "train", "seed": "x"}, "'seed'"),
        ({"split": "train", "kinds": ("chess",)}, "unknown PixelWorld kinds"),
    ],
)
def test_pixelworlds_mistakes(options, message):
    with pytest.raises(ConfigError, match=message):
        pixelworld(**options)


def test_a_source_knows_the_kinds_among_which_there_are_seeds():
    labels = [
        TaskLabel("asked"),
        TaskLabel("photo", is_seed=True),
        TaskLabel("mixed"),
        TaskLabel("mixed", is_seed=True),
    ]
    tasks = IndexedTasks(labels, partial(map, task_at))
    assert tasks.seed_kinds == ("photo", "mixed")
    assert tasks.select(kind="asked").seed_kinds == ()
    assert tasks.reordered([3, 0]).seed_kinds == ("mixed",)
    assert finite().seed_kinds == ()


def test_a_source_without_an_index_keeps_its_seeds():
    class Photos:
        size, kinds = 2, ("photo",)

        def take(self, start: int, n: int):
            return (Task(f"p{i}", "", (), (), kind="photo") for i in range(start, min(start + n, 2)))

    assert indexed(Photos()).seed_kinds == ("photo",)
