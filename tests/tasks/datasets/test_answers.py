"""Rules of references: boxes come off, letters are letters, lists are alternatives."""

from __future__ import annotations

import pytest

from pixelreasoner.tasks.datasets.answers import plain_options, plain_question, read_answers
from pixelreasoner.tasks.datasets.report import UnusableError

LISTED = "What is it made of?\nA. rubber\nB. cotton"


@pytest.mark.parametrize(
    ("value", "question", "values", "form", "scorer"),
    [
        (["\\boxed{B}"], LISTED, ("B",), "letter", "choice"),
        ("(B) cotton", LISTED, ("B",), "letter", "choice"),
        ("cotton", LISTED, ("B",), "letter", "choice"),
        ("wool", LISTED, ("wool",), "text", ""),
        ("<answer>B</answer>", "Which (A, B)?", ("B",), "letter", ""),
        (["\\boxed{['facebook', 'fb']}"], "Which?", ("facebook", "fb"), "alternatives", ""),
        (["10 km", "ten km", "10 km", ""], "How far?", ("10 km", "ten km"), "alternatives", ""),
        (["\\boxed{1,204}"], "How many?", ("1,204",), "number", ""),
        ([3], "How many?", ("3",), "number", ""),
        ("45%", "Share?", ("45%",), "number", ""),
        ("\\boxed{[3, 4]}", "Interval?", ("[3, 4]",), "text", ""),
        ("[not a list", "What?", ("[not a list",), "text", ""),
        ("<CONCLUSION> blue </CONCLUSION>", "Colour?", ("blue",), "text", ""),
    ],
)
def test_forms(value, question, values, form, scorer):
    assert read_answers(value, question) == (values, form, scorer)


@pytest.mark.parametrize("value", [None, "", [], [""], "\\boxed{}", [None], {"a": 1}, True])
def test_no_answer(value):
    with pytest.raises(UnusableError, match="no answer"):
        read_answers(value, "What?")


def test_a_passage_and_an_answer_that_is_no_option():
    with pytest.raises(UnusableError, match="passage: 301 characters"):
        read_answers("x" * 301, "What?")
    assert read_answers("x" * 300, "What?").form == "text"
    with pytest.raises(UnusableError, match="none of the options: 'wool'"):
        read_answers("wool", "What?", ["rubber", "cotton"])


def test_questions_lose_their_placeholders_only():
    assert plain_question("<image>\nHow many <b>dogs</b>?") == "How many <b>dogs</b>?"
    assert plain_question("What happens? <video>") == "What happens?"
    for nothing in ("<image>\n", "", "  ", None, 3):
        with pytest.raises(UnusableError, match="no question"):
            plain_question(nothing)


def test_options_lose_their_letters_where_all_have_one():
    assert plain_options(["A. rubber", "B) cotton", "(C) A. Smith"]) == ("rubber", "cotton", "A. Smith")
    assert plain_options(["A. Smith", "J. Doe"]) == ("A. Smith", "J. Doe")
    assert plain_options(None) == ()
