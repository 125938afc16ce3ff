"""Rules of the donor: the crop that could answer this question with another answer."""

from __future__ import annotations

import numpy as np

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, StopReason, Trajectory, Turn
from pixelreasoner.evals.swaps import answer_of_donor, donor_of, images_before


def tried(id: str, question: str = "Which letter is on the red card?", **more) -> Trajectory:
    """A rollout that cropped once; `frames` and `correct` say how, all else is the task's."""
    picture = Picture(np.zeros((10, 10, 3), np.uint8))
    frames, correct = more.pop("frames", ()), more.pop("correct", 1.0)
    seen = Observation("", (picture,), box=None if frames else Box(0, 0, 5, 5), frames=frames)
    task = Task(id, question, (picture,), more.pop("answers", ("T",)), **more)
    turns = (Turn("look", observation=seen), Turn("answer"))
    return Trajectory(task, turns, StopReason.ANSWER, metrics={"correct": correct})


MINE = tried("mine", answers=("K",))


def chosen(*others: Trajectory, mine: Trajectory = MINE) -> str | None:
    donor = donor_of(0, (mine, *others))
    return None if donor is None else donor.task.id


def test_the_same_kind_of_task_goes_first_and_then_the_same_operation():
    assert chosen(tried("other", kind="count"), tried("clip", frames=(1,)), tried("same")) == "same"
    assert chosen(tried("other", kind="count"), tried("clip", frames=(1,))) == "clip"


def test_a_donor_with_the_same_answer_tells_nothing():
    assert chosen(tried("same answer", answers=("k",)), tried("another")) == "another"


def test_the_same_subject_then_an_answer_the_question_names_then_a_donor_that_was_right():
    mine = tried("mine", "Red card: K or T?", answers=("K",), subject="the red card")
    red = tried("red", answers=("M",), subject="the red card", correct=0.0)
    red_right = tried("red right", answers=("M",), subject="the red card")
    named = tried("named", answers=("T",), subject="the red card", correct=0.0)
    blue = tried("blue", answers=("T",), subject="the blue card")
    assert chosen(blue, red, red_right, named, mine=mine) == "named"
    assert chosen(blue, red, red_right, mine=mine) == "red right"
    assert chosen(blue, red, mine=mine) == "red"


def test_like_words_then_the_next():
    mine = tried("mine", "Where is the green dot?", answers=("left",))
    far = tried("far", "How many cats?", answers=("3",))
    near = tried("near", "Where is the blue dot?", answers=("right",))
    next_one = tried("next", "Where is the blue dot?", answers=("right",))
    assert chosen(far, near, next_one, mine=mine) == "near"


def test_the_images_before_a_result_are_those_of_the_task_and_of_earlier_results():
    first, second = (
        Observation(text, (Picture(np.zeros((9, 9, 3), np.uint8)),) * n) for text, n in (("a", 2), ("b", 1))
    )
    turns = (Turn("look", observation=first), Turn("again", observation=second), Turn("answer"))
    found = Trajectory(MINE.task, turns, StopReason.ANSWER)
    assert (images_before(found, first), images_before(found, second)) == (1, 3)


def test_a_rollout_without_a_result_gives_none_and_gets_none():
    silent = Trajectory(MINE.task, (Turn("K"),), StopReason.ANSWER)
    assert donor_of(0, (MINE, silent)) is None
    assert donor_of(0, (silent, MINE)) is None


def test_the_answer_of_a_donor_is_text_or_the_letter_of_the_same_option():
    open_task = Task("a", "?", (), ("K",))
    donor = Task("b", "?", (), ("B",), options=("a cat", "a dog"))
    assert answer_of_donor(donor, open_task) == "a dog"
    assert answer_of_donor(donor, Task("c", "?", (), ("A",), options=("A Dog", "a cat"))) == "A"
    assert answer_of_donor(donor, Task("c", "?", (), ("A",), options=("one", "two"))) is None
    assert answer_of_donor(Task("d", "?", (), ()), open_task) is None
    assert answer_of_donor(open_task, open_task) == "K"
