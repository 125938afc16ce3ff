"""Rules of the shares of a gain, by hand."""

from __future__ import annotations

import pytest

from pixelreasoner.core.localisation import Localisation
from pixelreasoner.core.task import Task
from pixelreasoner.evals.gain_shares import gain_shares
from pixelreasoner.evals.outcomes import Outcome


def scored(*scores: float) -> list[Outcome]:
    return [
        Outcome(Task(str(i), "?", (), ("K",)), s, "K", True, True, False, "", Localisation(), ())
        for i, s in enumerate(scores)
    ]


def shares(plain, without, blank, base, base_without):
    model = {"plain": scored(*plain), "no_operations": scored(*without), "blank": scored(*blank)}
    return gain_shares(model, {"plain": scored(*base), "no_operations": scored(*base_without)})


N = 40
ONES, ZEROS = [1.0] * N, [0.0] * N


def first(n: int) -> list[float]:
    """Right on the first `n` of the tasks."""
    return [1.0] * n + [0.0] * (N - n)


def test_the_terms_and_both_shares():
    # 32 right with operations, 20 without, 24 with grey pictures; the base 12, with or without.
    found = shares(first(32), first(20), first(24), first(12), first(12))
    means = {name: found[name]["mean"] for name in ("gain", "intrinsic", "tool_induced", "pixels")}
    assert means == pytest.approx({"gain": 0.5, "intrinsic": 0.2, "tool_induced": 0.3, "pixels": 0.2})
    assert found["tool_share"]["mean"] == pytest.approx(0.6)
    assert found["pixel_share"]["mean"] == pytest.approx(0.4)
    low, high = found["tool_share"]["interval95"]
    assert 0.3 < low < 0.6 < high < 0.9


def test_what_the_base_gains_by_its_own_operations_is_taken_off():
    # The base is 8 better with operations than without; so is the model: nothing of it was learned.
    found = shares(first(28), first(20), first(20), first(16), first(8))
    assert found["tool_induced"]["mean"] == pytest.approx(0.0)
    assert found["tool_share"]["mean"] == pytest.approx(0.0)


def test_the_intrinsic_and_the_tools_part_make_the_gain():
    found = shares(first(30), first(11), first(17), first(9), first(14))
    assert found["intrinsic"]["mean"] + found["tool_induced"]["mean"] == pytest.approx(found["gain"]["mean"])


@pytest.mark.parametrize("plain", [ZEROS, first(12), first(13)])
def test_without_a_gain_beyond_chance_there_is_no_share(plain):
    found = shares(plain, plain, plain, first(12), first(12))
    assert (found["tool_share"], found["pixel_share"]) == (None, None)
    assert found["gain"]["mean"] == pytest.approx(sum(plain) / N - 12 / N)


def test_intervals_are_paired_and_the_same_each_time():
    # The same 12 tasks are gained by every part: pairing leaves no spread in the share.
    found = shares(first(24), first(12), first(12), first(12), first(12))
    assert found["tool_share"]["interval95"] == pytest.approx([1.0, 1.0])
    assert found == shares(first(24), first(12), first(12), first(12), first(12))
