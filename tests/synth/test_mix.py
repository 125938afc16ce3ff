"""Table 2, exactly: how many trajectories of which template, about which tasks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.synth.mix import ImageMix, Mix, Template, VideoMix, apportion
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.slots import Seeds, Slot, plan
from pixelreasoner.tasks.config import TasksConfig, build_tasks
from pixelreasoner.tasks.source import IndexedTasks, TaskLabel

KINDS = ("attribute", "relation", "count", "page", "clip")
T = Template


def slots(n: int, mix: Mix, kinds: tuple[str, ...] = KINDS, seed: int = 0) -> list[Slot]:
    tasks = build_tasks(TasksConfig(options={"kinds": list(kinds)}))
    return list(plan(n, mix, [Seeds(tasks)], np.random.default_rng(seed)))


def test_the_papers_set_of_7500():
    # 2,000 text-only; 5,500 looking, a fifth of them (1,100) clips: 4,400 pictures at 30/20/20/30 %,
    # 1,100 clips at 90/10 %.
    counts = Counter(s.template for s in slots(7500, Mix()))
    assert counts == {
        T.TEXT_ONLY: 2000,
        T.SINGLE_PASS: 1320 + 990,
        T.RECROP_ONCE: 880,
        T.RECROP_TWICE: 880,
        T.FURTHER_ZOOM: 1320,
        T.RESELECT: 110,
    }


def test_kinds_are_equally_frequent():
    made = slots(1000, Mix())
    # 267 text-only and 733 looking, each dealt to five kinds in turn.
    assert Counter(s.kind for s in made if s.template is T.TEXT_ONLY) == dict(
        zip(KINDS, (54, 54, 53, 53, 53), strict=True)
    )
    assert Counter(s.kind for s in made if s.template is not T.TEXT_ONLY) == dict(
        zip(KINDS, (147, 147, 147, 146, 146), strict=True)
    )


def test_who_needs_the_operation():
    made = slots(1500, Mix(text_only=0, full_image_share=0.2))
    assert all(not s.needs_operation for s in slots(100, Mix(text_only=1)))
    guesses = slots(200, Mix(text_only=1, guess_share=0.25))
    assert sum(s.needs_operation for s in guesses) == 50
    overview = [s for s in made if not s.needs_operation]
    # A fifth of 1,200 pictures and of 300 clips.
    assert Counter(s.kind == "clip" for s in overview) == {False: 240, True: 60}
    assert {s.template for s in overview} == {T.SINGLE_PASS}


def test_no_task_occurs_twice():
    made = slots(2000, Mix(full_image_share=0.3))
    assert len({(s.kind, s.needs_operation, s.index) for s in made}) == 2000


def test_without_self_correction_the_tasks_stay():
    plain, corrected = slots(600, Mix(self_correction=False)), slots(600, Mix())
    assert Counter(s.template for s in plain) == {T.TEXT_ONLY: 160, T.SINGLE_PASS: 440}
    about = [(s.kind, s.needs_operation, s.index) for s in corrected]
    assert [(s.kind, s.needs_operation, s.index) for s in plain] == about


def test_the_order_is_mixed_and_the_seed_fixes_it():
    assert slots(300, Mix(), seed=1) == slots(300, Mix(), seed=1)
    assert slots(300, Mix(), seed=1) != slots(300, Mix(), seed=2)
    # A prefix is a small set of the same mix: 80 of 300 are text-only.
    head = [s.template for s in slots(300, Mix())[:150]]
    assert 25 <= head.count(T.TEXT_ONLY) <= 55


@pytest.mark.parametrize("kinds", [("clip",), ("count",)])
def test_worlds_with_one_modality(kinds: tuple[str, ...]):
    templates = {s.template for s in slots(100, Mix(), kinds)}
    assert (T.RESELECT in templates) == (kinds == ("clip",))
    assert (T.RECROP_ONCE in templates) == (kinds == ("count",))


def test_apportion_by_largest_remainder():
    assert apportion(10, {"a": 0.3, "b": 0.2, "c": 0.2, "d": 0.3}) == {"a": 3, "b": 2, "c": 2, "d": 3}
    # 7 * (0.5, 0.3, 0.2) = 3.5, 2.1, 1.4: one left over, for the largest remainder.
    assert apportion(7, {"a": 0.5, "b": 0.3, "c": 0.2}) == {"a": 4, "b": 2, "c": 1}
    assert apportion(1, {"a": 0.5, "b": 0.5}) == {"a": 1, "b": 0}


@given(st.integers(0, 10_000), st.lists(st.floats(0.001, 1), min_size=1, max_size=6))
def test_apportioned_counts_are_exact(n: int, weights: list[float]):
    counts = apportion(n, {str(i): w for i, w in enumerate(weights)})
    assert sum(counts.values()) == n
    exact = [n * w / sum(weights) for w in weights]
    assert all(abs(c - e) < 1 + 1e-6 for c, e in zip(counts.values(), exact, strict=True))


def test_shares_must_sum_to_one():
    with pytest.raises(ConfigError, match=r"image templates sum to 1\.1"):
        ImageMix(single_pass=0.4)
    with pytest.raises(ConfigError, match=r"video templates sum to 0\.5"):
        VideoMix(single_pass=0.4)
    with pytest.raises(ConfigError, match=r"only 0\.3 of the trajectories are single-pass"):
        Mix(full_image_share=0.4)


def of_a_file(labels: list[TaskLabel]) -> IndexedTasks:
    picture = Picture(np.zeros((4, 4, 3), np.uint8))

    def make(i: int) -> Task:
        media = Video((picture,)) if labels[i].kind == "film" else picture
        return Task(
            str(i), "Q?", (media,), ("A",), kind=labels[i].kind, needs_operation=labels[i].needs_operation
        )

    return IndexedTasks(labels, lambda at: map(make, at))


def test_tasks_that_do_not_say_what_they_need():
    """Every slot takes a task of its own, whatever the mix would like it to need."""
    tasks = of_a_file([TaskLabel("sign")] * 40 + [TaskLabel("film", True)] * 20)
    made = plan(40, Mix(text_only=0.5), [Seeds(tasks)], np.random.default_rng(0))
    assert {(s.kind, s.needs_operation) for s in made} == {("sign", None), ("film", True)}
    assert sorted(s.index for s in made if s.kind == "sign") == list(range(20))
    assert sorted(s.index for s in made if s.kind == "film") == list(range(20))
    assert {s.template for s in made if s.kind == "film"} <= {T.TEXT_ONLY, T.SINGLE_PASS, T.RESELECT}


def test_too_few_tasks_are_told():
    with pytest.raises(SynthesisError, match="takes 30 tasks of kind 'sign', and there are 7; lower n"):
        plan(30, Mix(), [Seeds(of_a_file([TaskLabel("sign")] * 7))], np.random.default_rng(0))
