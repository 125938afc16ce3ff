"""Chains of tasks, several sets of seeds, and templates that go where they fit."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from pixelreasoner.core.media import Picture, Video
from pixelreasoner.core.task import Task
from pixelreasoner.synth.mix import Mix, Template
from pixelreasoner.synth.regions import SynthesisError
from pixelreasoner.synth.slots import Group, Seeds, Slot, plan
from pixelreasoner.tasks.source import IndexedTasks, TaskLabel

T = Template
ZOOMS = {T.SINGLE_PASS, T.RECROP_ONCE, T.RECROP_TWICE, T.FURTHER_ZOOM}


def seeds(kind: str, n: int, weight: float = 1.0) -> Seeds:
    picture = Picture(np.zeros((4, 4, 3), np.uint8))
    media = (Video((picture,)),) if kind == "film" else (picture,)
    labels = [TaskLabel(kind)] * n
    return Seeds(
        IndexedTasks(labels, lambda at: (Task(str(i), "Q?", media, ("A",), kind=kind) for i in at)), weight
    )


def test_chains_share_the_tasks_of_a_kind_out():
    slots = plan(6, Mix(), [seeds("sign", 20)], np.random.default_rng(0))
    chains = [list(slot.chain(tries=3)) for slot in slots]
    assert sorted(chain[0] for chain in chains) == [0, 1, 2, 3, 4, 5]
    assert all(chain == [chain[0], chain[0] + 6, chain[0] + 12] for chain in chains)
    used = [index for chain in chains for index in chain]
    assert sorted(used) == list(range(18)), "each task is in one chain"


def test_sets_have_their_shares_and_the_mix_is_exact_over_all_of_them():
    sets = [seeds("sign", 900, weight=3), seeds("page", 900), seeds("film", 900)]
    slots = list(plan(500, Mix(text_only=0.2), sets, np.random.default_rng(1)))
    # 100 without an operation and 400 with one, each dealt 3 : 1 : 1.
    assert Counter((s.source, s.template is T.TEXT_ONLY) for s in slots) == {
        (0, True): 60, (1, True): 20, (2, True): 20, (0, False): 240, (1, False): 80, (2, False): 80,
    }  # fmt: skip
    # 320 pictures at 30/20/20/30 %, 80 videos at 90/10 %.
    assert Counter(s.template for s in slots if s.source == 2 and s.template is not T.TEXT_ONLY) == {
        T.SINGLE_PASS: 72, T.RESELECT: 8,
    }  # fmt: skip
    assert Counter(s.template for s in slots if s.source < 2 and s.template is not T.TEXT_ONLY) == {
        T.SINGLE_PASS: 96, T.RECROP_ONCE: 64, T.RECROP_TWICE: 64, T.FURTHER_ZOOM: 96,
    }  # fmt: skip


def test_a_template_that_does_not_fit_a_kind_goes_to_another_one():
    sets = [seeds("sign", 400), seeds("page", 400)]

    def fits(group: Group, template: Template) -> bool:
        return not (group.kind == "page" and template is T.FURTHER_ZOOM)

    mix = Mix(text_only=0)
    plain = list(plan(200, mix, sets, np.random.default_rng(2)))
    moved = list(plan(200, mix, sets, np.random.default_rng(2), fits))
    assert Counter(s.template for s in moved) == Counter(s.template for s in plain)
    assert Counter(s.kind for s in moved) == Counter(s.kind for s in plain) == {"sign": 100, "page": 100}
    assert {s.template for s in plain if s.kind == "page"} == ZOOMS
    assert {s.template for s in moved if s.kind == "page"} == ZOOMS - {T.FURTHER_ZOOM}


def test_what_fits_nowhere_stays_and_what_fits_everywhere_changes_nothing():
    sets = [seeds("sign", 100)]
    mix = Mix(text_only=0)
    plain = list(plan(50, mix, sets, np.random.default_rng(3)))
    nowhere = plan(50, mix, sets, np.random.default_rng(3), lambda group, t: t is not T.RECROP_TWICE)
    assert list(nowhere) == plain


@pytest.mark.parametrize("at", [0, 7, -1])
def test_slots_are_a_sequence_of_small_records(at: int):
    slots = plan(30, Mix(), [seeds("sign", 60)], np.random.default_rng(0))
    assert len(slots) == 30
    assert list(slots)[at] == slots[at]
    assert isinstance(slots[at], Slot)
    assert list(slots[5:9]) == [slots[i] for i in range(5, 9)]


def test_a_number_far_beyond_the_tasks_is_refused_before_anything_is_made_for_each():
    sets = [seeds("sign", 30, weight=1), seeds("page", 30, weight=3)]
    began = time.perf_counter()
    with pytest.raises(SynthesisError, match="takes 250000000 tasks of kind 'sign', and there are 30"):
        plan(10**9, Mix(), sets, np.random.default_rng(0))
    assert time.perf_counter() - began < 1
