"""What counts as an answer that text holds: misread letters do, what a crop has cut off does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.core.geometry import Box
from pixelreasoner.synth.text_match import TextLine, holds

LINE = 20


def lines(*texts: str, x: float = 0, width: float = 400) -> list[TextLine]:
    """Lines of one column, from top to bottom."""
    return [TextLine(t, Box(x, i * LINE, x + width, i * LINE + 16)) for i, t in enumerate(texts)]


def shown(answer: str, *texts: str, tolerance: float = 0.1) -> bool:
    return holds(lines(*texts), answer, tolerance)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("Vienna", "born in VIENNA, Austria"),
        ("the annual report", "see  The Annual-Report."),
        ("café", "Cafe Central"),
        ("ﬁnance", "Finance"),
        ("Iran", "lran and Iraq"),  # a capital I and a small l
        ("company", "the company's board"),
        ("1,204", "in all 1204 seats"),
        ("1204", "in all 1,204 seats"),
        ("12%", "up by 12 %"),
        ("$3.50", "it costs 3.50"),
        ("5 kg", "a load of 5kg"),
        ("3", "3-5 days"),
        ("-5", "fell to −5 degrees"),
        ("東京", "東京都千代田区"),
    ],
)
def test_case_spaces_punctuation_and_forms_of_characters_do_not_count(answer, text):
    assert shown(answer, text, tolerance=0)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("rate", "corporate"),
        ("rate", "rates"),
        ("204", "1,204"),
        ("12", "12.5"),
        ("1,240", "1,204"),
        ("35", "3.5"),
        ("1234", "12 34"),
        ("5", "-5"),
        ("-5", "5"),
        ("No", "North"),
        ("12 March", "13 March"),
        ("%", "12 %"),
        ("", "anything"),
    ],
)
def test_part_of_a_word_or_of_a_number_is_not_the_answer(answer, text):
    assert not shown(answer, text, tolerance=0.3)


def test_letters_may_be_misread_up_to_the_tolerance_and_two_in_a_row():
    answer = "international conference centre"  # 29 letters
    assert shown(answer, "the intemational conference centre")  # rn read as m: two edits
    assert not shown(answer, "the intemational conference centre", tolerance=1 / 29)
    assert not shown(
        "defendant is not guilty of the charge", "defendant is guilty of the charge", tolerance=0.3
    )
    assert not shown("harbour", "harhour"), "seven letters: none of them"


def test_numbers_are_never_misread():
    answer = "the meeting of the council in 1987"
    assert shown(answer, "the meeting of the councll in 1987")
    assert not shown(answer, "the meeting of the council in 1981", tolerance=0.5)
    assert not shown("the council met", "the council 7 met", tolerance=0.5)


def test_an_answer_goes_on_over_lines_divided_or_not():
    assert shown("the annual growth rate", "we saw the annual", "growth rate of it")
    assert shown("the annual growth rate", "we saw the ann-", "ual growth rate of it")
    assert not shown("formation", "infor-", "formation-", tolerance=0), "a divided word goes on"
    assert shown("information", "the infor-", "mation desk", tolerance=0)
    assert not shown("mation", "the infor-", "mation desk", tolerance=0)


@pytest.mark.parametrize(
    "texts",
    [
        ("we saw the annual grow", "rate of increase"),  # the right edge of both lines is gone
        ("annual growth", "ate of increase"),  # a letter at the beginning of a line
        ("annual growt", "rate of increase"),
        ("nnual growth rate of increase",),
        ("annual growth rate of increas",),
        ("annual growth rate of",),
    ],
)
def test_what_a_crop_cuts_off_is_no_misreading(texts):
    assert not shown("annual growth rate of increase", *texts, tolerance=0.3)


def test_a_doubled_letter_does_not_make_up_for_one_that_is_cut_off():
    assert not shown("Aaron Svensson", "aron Svensson", tolerance=0.3)
    assert not shown("this plateau until", "this plateau", "ntil", tolerance=0.3)


def test_columns_are_read_down_and_rows_across():
    left = lines("the president", "of the republic", width=150)
    right = lines("a bridge over", "the river Danube", x=250, width=150)
    page = [TextLine("News of today", Box(0, -30, 400, -10)), *left, *right]
    assert holds(page, "president of the republic", 0)
    assert holds(page, "bridge over the river Danube", 0)
    assert not holds(page, "president a bridge over the republic", 0)
    table = [
        TextLine("Revenue", Box(0, 0, 80, 16)), TextLine("1,204", Box(300, 1, 350, 17)),
        TextLine("Costs", Box(0, 20, 60, 36)), TextLine("98", Box(320, 21, 350, 37)),
    ]  # fmt: skip
    assert holds(table, "Costs 98", 0)
    assert not holds(table, "Revenue 98", 0)


WORDS = st.lists(st.text("abcdeilmnorstu", min_size=1, max_size=9), min_size=1, max_size=8)


@given(WORDS, WORDS, WORDS)
def test_every_answer_is_in_the_text_it_was_taken_from(before, answer, after):
    text = " ".join([*before, *answer, *after])
    assert shown(" ".join(answer), text, tolerance=0)


@given(WORDS)
def test_without_its_first_letter_an_answer_is_not_there(words):
    answer = " ".join(words)
    cut = answer[1:].strip()
    begins_again = any(word.startswith(answer[0]) for word in cut.split())
    assert begins_again or not shown(answer, cut, tolerance=0.3)
