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
        ("10²", "10^2"),  # A1
        ("10^{2}", "10²"),
        ("H₂O", "H2O"),
        ("½", "1/2"),
        (r"\textrm{left}", "left"),  # A3
        (r"\mathsf{left}", "left"),
        (r"\mbox{left}", "left"),
        (r"\operatorname{left}", "left"),
        (r"\underline{left}", "left"),
        (r"\text {left}", "left"),
        (r"30^\circ", "30°"),  # A5
        (r"30^{\circ}", "30°"),
        ("\u22125", "-5"),  # A6: minus, dashes, quotes
        ("2010\u20132015", "2010-2015"),
        ("don\u2019t walk", "don't walk"),
        ("T\u2011shirt", "T-shirt"),
        ("0.50", "0.5"),  # A8
        (".5", "0.5"),
        ("3.50%", "3.5%"),
        ("$5.00", "$5"),
        ("-$5", "$-5"),
        ("50 %", "50%"),  # A9
        ("[8.1,12.8]", "[8.1, 12.8]"),
        ("red,blue", "red, blue"),
        ("B)", "B"),  # A13
        ("[B]", "B"),
        ("{B}", "B"),
        ("B:", "B"),
        ("**B**", "B"),
        ("Option B", "B"),
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
        ("10²", "102"),  # A1: NFKC alone would make them one
        ("5³", "53"),
        ("20⁰", "200"),
        ("101₂", "1012"),
        ("5½", "51/2"),
        ("12, 345", "12,345"),  # two numbers and one
        ("[12, 345]", "[12,345]"),
        ("1, 3", "1,3"),  # a list and a decimal comma
        ("3.5", "35"),
        ("5%", "5"),
        ("€5", "$5"),
        ("Option", "O"),
        ("(B]", "B"),
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


@given(st.integers(), st.integers())
def test_numbers_are_equal_only_when_they_are(a, b):
    assert is_correct(str(a), [f"{b}.00"]) == (a == b)


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    assert normalize(normalize(text)) == normalize(text)


@given(st.text())
def test_the_reference_itself_is_right(text):
    assert is_correct(text, [text]) == (normalize(text) != "")
