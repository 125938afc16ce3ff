"""Rules of the evidence, by hand: who is counted where, and what a figure means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pixelreasoner.core.errors import PixelReasonerError
from pixelreasoner.core.intervals import paired_interval, wilson_interval
from pixelreasoner.core.localisation import Localisation
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import StopReason, Trajectory, Turn
from pixelreasoner.evals.evidence import evidence, mean_figure, paired, same_answer
from pixelreasoner.evals.outcomes import Outcome, outcome
from pixelreasoner.rewards.scorers import choice, exact


def result(
    number: int, answer: str | None, *, called: bool = False, donor: str = "", replaced: bool = False, **task
) -> Outcome:
    """The outcome of task `number`, whose reference is K unless `task` says otherwise."""
    it = Task(str(number), "Which letter?", (), task.pop("answers", ("K",)), **task)
    score = exact(answer, it.answers, it)
    return Outcome(it, score, answer, called, called, replaced or bool(donor), donor, Localisation(), ())


# Tasks 0 to 5; the model calls on 0 to 3.
PLAIN = [result(i, a, called=i < 4) for i, a in enumerate(["K", "K", "K", "x", "K", "x"])]
WITHOUT = [result(i, a) for i, a in enumerate(["x", "x", "K", "K", "x", "K"])]
BLANK = [result(i, a, called=i < 4, replaced=i < 4) for i, a in enumerate(["x", "K", "K", "y", "K", "x"])]


def test_gain_and_harm_of_the_call_and_of_the_schema_alone():
    part = evidence({"plain": PLAIN, "no_operations": WITHOUT}, scorer=exact)["all"]
    # Where it called: 0 and 1 only with, 3 only without, 2 in both.
    assert part["call"] == {
        "n": 4, "both": 1, "gain": 2, "harm": 1, "neither": 0,
        "net": {"mean": 0.25, "interval95": list(paired_interval(2, 1, 4))},
    }  # fmt: skip
    # Where it did not: 4 only with operations on offer, 5 only without.
    assert (part["schema"]["n"], part["schema"]["gain"], part["schema"]["harm"]) == (2, 1, 1)
    assert part["called"] == {"n": 6, "mean": 4 / 6, "interval95": list(wilson_interval(4 / 6, 6))}
    assert part["accuracy"]["plain"]["mean"] == 4 / 6
    assert part["unanswered"]["plain"]["mean"] == 0.0
    assert part["accuracy"]["no_operations"]["mean"] == 3 / 6


def test_the_pixels_are_weighed_where_a_result_was_read():
    part = evidence({"plain": PLAIN, "blank": BLANK}, scorer=exact)["all"]
    assert part["call"] is None
    counts = part["pixels"]["blank"]
    assert (counts["n"], counts["both"], counts["gain"], counts["harm"]) == (4, 2, 1, 0)
    # Of the four that were shown grey, 0 and 3 are answered otherwise.
    assert part["answers"]["blank"]["replaced"] == 4
    assert part["answers"]["blank"]["changed"]["mean"] == 0.5


def test_the_needy_part_is_of_tasks_that_need_an_operation_and_may_be_none():
    assert evidence({"plain": PLAIN}, scorer=exact)["needs_operation"] is None
    needy = [replace(o, task=replace(o.task, needs_operation=i < 2)) for i, o in enumerate(PLAIN)]
    found = evidence({"plain": needy, "no_operations": WITHOUT}, scorer=exact)
    assert found["needs_operation"]["n"] == 2
    assert found["needs_operation"]["call"]["gain"] == 2


def test_a_swapped_answer_follows_keeps_or_does_neither():
    answers = ("T", "M", "K", "T", "K", "T")
    plain = [result(i, "K", called=True, answers=(a,)) for i, a in enumerate(answers)]
    swapped = [
        result(0, "M", called=True, answers=("T",), donor="1"),  # the donor's answer
        result(1, "K", called=True, answers=("M",), donor="0"),  # its own
        result(2, "x", called=True, donor="0"),  # neither
        result(
            3, "K", called=True, answers=("T",), donor="2"
        ),  # the donor's is what it said before: not told
        result(4, "T", called=True, donor="4"),  # the donor's is right here too: not told
        result(5, "M", called=True, answers=("T",)),  # not swapped
    ]
    blank = [result(i, a, called=True, replaced=True) for i, a in enumerate(["M", "T", "x", "x", "x", "x"])]
    found = evidence({"plain": plain, "swap": swapped, "blank": blank}, scorer=exact)["all"]["swapped"]
    assert (found["n"], found["n_swapped"]) == (3, 5)
    assert [found[name]["mean"] for name in ("follows", "keeps", "other")] == [1 / 3, 1 / 3, 1 / 3]
    assert found["by_kind"]["open"] == found["follows"]
    # To grey, task 0 gives M and task 1 gives T: the donors' answers, though it saw nothing.
    assert found["chance"]["mean"] == 2 / 3


def test_a_donor_need_not_be_of_the_part_that_is_counted():
    plain = [
        result(0, "K", called=True, needs_operation=True),
        result(1, "T", called=True, answers=("T",), needs_operation=False),
    ]
    swapped = [
        result(0, "T", called=True, needs_operation=True, donor="1"),
        result(1, "T", called=True, answers=("T",), needs_operation=False, donor="0"),
    ]
    found = evidence({"plain": plain, "swap": swapped}, scorer=exact)
    needing = found["needs_operation"]["swapped"]
    assert (needing["n"], needing["follows"]["mean"]) == (1, 1.0)
    assert (found["all"]["swapped"]["n"], found["all"]["swapped"]["follows"]["mean"]) == (2, 0.5)


def test_where_nothing_was_swapped_there_is_no_figure():
    found = evidence({"plain": PLAIN, "swap": PLAIN}, scorer=exact)["all"]["swapped"]
    assert (found["n"], found["n_swapped"], found["follows"], found["chance"]) == (0, 0, None, None)


def test_answers_are_the_same_to_the_scorer():
    task = Task("t", "?", (), ("A",), options=("red", "blue"))
    assert same_answer("B", "(b) blue", task, choice)
    assert not same_answer("A", "B", task, choice)
    assert same_answer(None, None, task, choice)
    assert not same_answer(None, "A", task, choice)
    assert same_answer("no option", "no option", task, choice)


def test_coverage_stands_beside_the_iou_and_the_crops_of_the_whole_image():
    one = replace(PLAIN[0], localisation=Localisation(2, 2, 2, 0.4, 2, 2))
    two = replace(PLAIN[1], localisation=Localisation(1, 0, 1, 0.5, 2, 0))
    found = evidence({"plain": [one, two]}, scorer=exact)["localisation"]
    assert found["cue_coverage"]["mean"] == pytest.approx(2 / 3)
    assert (found["cue_iou"]["n"], found["cue_iou"]["mean"]) == (3, pytest.approx(0.3))
    # Drawn twice the one (0.4 / 2) or twice the other (0.5 / 1).
    assert found["cue_iou"]["interval95"] == pytest.approx([0.2, 0.5])
    assert found["whole_image_crops"]["mean"] == 0.5
    nothing = evidence({"plain": PLAIN}, scorer=exact)["localisation"]
    assert set(nothing.values()) == {None}


def test_scores_between_have_the_intervals_of_the_bootstrap():
    assert mean_figure([1.0, 0.0]) == {"n": 2, "mean": 0.5, "interval95": list(wilson_interval(0.5, 2))}
    between = mean_figure([0.5] * 8)
    assert between == {"n": 8, "mean": 0.5, "interval95": [0.5, 0.5]}
    assert mean_figure([]) is None
    assert paired([], []) is None


def test_runs_are_paired_by_task_and_other_tasks_are_refused():
    found = evidence({"plain": PLAIN, "no_operations": WITHOUT[::-1]}, scorer=exact)
    assert found == evidence({"plain": PLAIN, "no_operations": WITHOUT}, scorer=exact)
    with pytest.raises(PixelReasonerError, match="'no_operations' holds other tasks"):
        evidence({"plain": PLAIN, "no_operations": WITHOUT[1:]}, scorer=exact)
    with pytest.raises(PixelReasonerError, match="no plain evaluation"):
        evidence({"no_operations": WITHOUT}, scorer=exact)


def test_a_rollout_that_was_not_scored_is_refused():
    with pytest.raises(PixelReasonerError, match="task t has no score"):
        outcome(Trajectory(Task("t", "?", (), ("K",)), (Turn("K"),), StopReason.ANSWER))
