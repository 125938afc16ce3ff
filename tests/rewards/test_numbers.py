"""Counts and numbers: what a final answer says, and where published standards differ."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.core.task import Task
from pixelreasoner.rewards.numbers import WORDS, integer_of, number_of
from pixelreasoner.rewards.scorers import integer

# (answer, reference, whether VLMEvalKit scores 1, whether we do). It takes the first number from 0 to 20.
STANDARDS = [
    ("3", "3", True, True),
    ("Three", "3", True, True),
    ("There are three dogs.", "3", True, True),
    ("zero", "0", True, True),
    ("3 people", "3", True, True),
    ("twenty", "20", True, True),
    ("15", "15", True, True),
    (" 3 ", "3", True, True),
    (r"\boxed{3}", "3", True, True),
    (r"\boxed{There are 3}", "3", True, True),
    ("0.0", "0", True, True),
    ("2, 3", "3", False, False),
    ("3rd", "3", False, False),
    ("often", "10", False, False),
    ("a couple", "2", False, False),
    ("III", "3", False, False),
    ("103", "100", False, False),
    ("1_0", "10", False, False),
    # Not whole, negative, of a hundred, estimated: other answers than 3.
    ("3.5", "3", True, False),
    ("3/4", "3", True, False),
    ("-3", "3", True, False),
    ("3%", "3", True, False),
    ("about 3", "3", True, False),
    # The same answer, which it cannot read.
    ("21", "21", False, True),
    ("03", "3", False, True),
    ("\uff13", "3", False, True),
    ("no", "0", False, True),
]


@pytest.mark.parametrize(("answer", "reference", "theirs", "ours"), STANDARDS)
def test_counts_of_published_harnesses(answer, reference, theirs, ours):
    assert integer(answer, [reference], Task("t", "How many?", (), ())) == ours


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        ("I can see four cats", 4),
        ("The answer is 3.", 3),
        ("Answer: 3", 3),
        ("So there are a total of 3 birds", 3),
        ("exactly two", 2),
        ("three dogs on the left", 3),
        ("3 in total", 3),
        ("twenty-one cats", 21),
        ("1,000 people", 1000),
        ("1'000", 1000),
        (r"3 \text{ dogs}", 3),
        ("There are no dogs in the image.", 0),
        ("none", 0),
        ("one of them", 1),
    ],
)
def test_a_count_in_a_sentence(answer, count):
    assert integer_of(answer) == count


@pytest.mark.parametrize(
    "answer",
    [
        "at least 3", "3 or more", "more than 3", "3 at most", "3 dozen", "3 pairs of shoes", "3 and a half",
        "two of the three", "there are three dogs and a cat", "3 on the left, 2 on the right", "3 to 5",
        "There aren't three dogs", "there are 3, I think", "0.5 dogs", "two hundred", "3D", "3 cm", "3 m",
        "There is no way to tell", "there is no clear answer", "no idea", "I see no one", "nobody", "a dog",
        "1 000", "3,5", "the dogs are three", "three-legged dog", "not three dogs",
    ],
)  # fmt: skip
def test_what_is_no_count(answer):
    assert integer_of(answer) is None


@given(
    st.integers(0, 99), st.sampled_from(["There are {} dogs.", "{} people", "I see {}", "The total is {}"])
)
def test_digits_and_words_say_the_same_in_any_sentence(n, sentence):
    word = next(word for word, value in reversed(WORDS.items()) if value == n)
    assert integer_of(sentence.format(n)) == n
    assert integer_of(sentence.format(word)) == n or word == "no"


@given(st.text("0123456789 ,.-/%'", max_size=12))
def test_a_number_is_read_whole_or_not_at_all(text):
    """No digit of a text is passed over: what is read has the digits that are written."""
    value = number_of(text)
    if value is not None:
        digits = "".join(c for c in text if c.isdigit()).lstrip("0")
        shown = str(abs(value * 10**15).numerator).lstrip("0")
        assert shown.rstrip("0") == digits.rstrip("0")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,000", 1000),
        ("1'000.5", Fraction(2001, 2)),
        ("45 percent", Fraction(9, 20)),
        ("1,00", None),
        ("½", None),
    ],
)
def test_numbers(text, value):
    assert number_of(text) == value
