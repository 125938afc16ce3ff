"""ANLS on vectors whose values come from lmms-eval and VLMEvalKit; they agree on every one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.core.task import Task
from pixelreasoner.rewards.anls import anls
from pixelreasoner.rewards.answers import MAX_CHARACTERS

TASK = Task("t", "Q?", (), ())


@pytest.mark.parametrize(
    ("answer", "references", "expected"),
    [
        ("42", ["42"], 1.0),  # exact
        ("  paris  ", ["paris"], 1.0),  # outer whitespace (raw len in denominator)
        ("new\nyork", ["new york"], 1.0),  # newline/tab as space
        ("   ", ["42"], 0),  # whitespace prediction
        ("a", [""], 0),  # empty gt, non-empty pred
        ("abxx", ["abyy"], 0.5),  # boundary NL exactly .5 len 4
        ("abxxx", ["abyyy"], 0),  # just below: NL=.6
        ("45", ["45%"], 0.6666666666666667),  # percent sign missing
        ("45 %", ["45%"], 0.75),  # percent with space
        ("1,234", ["1234"], 0.8),  # thousands comma
        ("10 km", ["10"], 0),  # unit suffix
        ("two", ["2"], 0),  # number word vs digit
        ("NYC", ["New York City", "NYC", "N.Y.C."], 1.0),  # multi gt takes max
        ("troubles", ["troubles", "the siege of krishnapur"], 1.0),  # multi-span as separate gts
        ("The answer is 42.", ["42"], 0),  # sentence instead of span
        ("5.", ["5"], 0.5),  # trailing period short gt
        ("cafe\u0301", ["caf\xe9"], 0.6),  # NFC vs NFD
        ("\u6771\u4eac\u90fd", ["\u6771\u4eac"], 0.6666666666666667),  # CJK
        ("\u0130stanbul", ["istanbul"], 0.875),  # Turkish dotted I lower() changes length
        ("new\xa0york", ["new york"], 1.0),  # non-breaking space
        ("none", ["none"], 1.0),  # literal none
        ("\\boxed{42}", ["42"], 0),  # boxed wrapper left in
        ("a" * 200, ["a" * 99], 0),  # long vs short
        ('"united states"', ["united states"], 0.8666666666666667),  # quotes
        ("the united states", ["united states"], 0.7647058823529411),  # article
    ],
)
def test_published_values(answer, references, expected):
    assert anls(answer, references, TASK) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("answer", [None, "", " "])
def test_nothing_scores_nothing(answer):
    assert anls(answer, [""], TASK) == 0.0


def test_the_threshold_is_an_option():
    # "abxx" and "abyy": distance 2 of 4.
    assert anls("abxx", ["abyy"], TASK, threshold=0.51) == 0.0
    assert anls("abxxx", ["abyyy"], TASK, threshold=0.0) == pytest.approx(0.4)


def _slow_distance(a: str, b: str) -> int:
    """By its recursive definition."""
    if not a or not b:
        return len(a) + len(b)
    if a[-1] == b[-1]:
        return _slow_distance(a[:-1], b[:-1])
    shorter = (_slow_distance(a[:-1], b), _slow_distance(a, b[:-1]), _slow_distance(a[:-1], b[:-1]))
    return 1 + min(shorter)


@given(st.text("abc", min_size=1, max_size=6), st.text("abc", min_size=1, max_size=6))
def test_the_distance_is_the_definitions(a, b):
    expected = 1 - _slow_distance(a, b) / max(len(a), len(b))
    assert anls(a, [b], TASK, threshold=0.0) == pytest.approx(expected)


def test_a_long_answer_is_compared_in_little_time_and_one_over_the_limit_is_wrong():
    """Ten thousand characters against ten thousand: a hundred million cells of the table."""
    start = time.process_time()
    assert anls("ab" * 5_000, ["abcd" * 2_500], TASK) == pytest.approx(0.5)
    assert time.process_time() - start < 5.0
    assert anls("a" * MAX_CHARACTERS, ["a" * MAX_CHARACTERS], TASK) == 1.0
    assert anls("a" * (MAX_CHARACTERS + 1), ["a" * (MAX_CHARACTERS + 1)], TASK) == 0.0
