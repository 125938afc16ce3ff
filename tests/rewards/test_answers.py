"""Exact match after harmless differences, and the traps beside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.rewards.answers import is_correct, normalize


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("K", "k"),
        ("  the   red\ncard ", "the red card"),
        ("Red.", "red"),
        ("$5$", "5"),
        ("$ 5 $.", "5"),
        ('"Main Street"', "main street"),
        ("“Main Street”", "Main Street"),
        (r"\text{left}", "left"),
        (r"\text{\textbf{left}}", "left"),
        (r"3\text{ cm}", "3 cm"),
        (r"50\%", "50%"),
        ("(B)", "B"),
        ("( b ).", "B"),
        ("03", "3"),
        ("3.0", "3"),
        ("3.", "3"),
        ("+3", "3"),
        ("-0", "0"),
        ("-07", "-7"),
        ("0", "000"),
        ("\uff13", "3"),  # a full-width digit
        ("ﬁne", "fine"),
        ("STRASSE", "straße"),
    ],
)
def test_equal(answer, reference):
    assert is_correct(answer, [reference])
    assert is_correct(reference, [answer])


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("12, 345", "1, 3"),
        ("A or B", "A"),
        ("AB", "A"),
        ("not left", "left"),
        ("30", "3"),
        ("3.5", "3"),
        ("-3", "3"),
        ("$5", "5"),
        ("5 cm", "5"),
        ("(3)", "B"),
        ("(A) (B)", "A"),
        ("1/2", "12"),
        ("12,345", "12345"),
        ("0", "O"),
        ("left right", "leftright"),
    ],
)
def test_different(answer, reference):
    assert not is_correct(answer, [reference])
    assert not is_correct(reference, [answer])


@pytest.mark.parametrize("answer", [None, "", "  ", ".", "$$", '""', r"\text{}"])
def test_nothing_is_never_right(answer):
    assert not is_correct(answer, ["", ".", "A", " "])
    assert not is_correct(answer, [])


def test_any_reference_will_do():
    assert is_correct("NYC", ["New York", "nyc"])


def test_a_very_long_number_is_only_wrong():
    assert not is_correct("9" * 10_000, ["3"])


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalize(normalize(text)) == normalize(text)


@given(st.text())
def test_the_reference_itself_is_right(text):
    assert is_correct(text, [text]) == (normalize(text) != "")
