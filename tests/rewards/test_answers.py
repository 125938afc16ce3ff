"""Exact match after harmless differences, and the traps beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelreasoner.rewards import answers
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
        # neighbours of A1: exponents, indices, fractions
        ("10\u207b\u2075", "10^{-5}"),
        ("x\u207f", "x^n"),
        ("101\u2082", "101_{2}"),
        ("\xb9\u2044\u2083", "1/3"),
        ("5\xbd", "5 1/2"),
        (r"\frac{1}{2}", "1/2"),
        (r"5\frac{1}{2}", "5½"),
        ("5 \u33a1", "5m²"),  # a square metre in one glyph
        ("1\u02e2\u1d57", "1st"),
        # of A3 and A5: other commands, spaces of LaTeX, delimiters
        (r"\boldsymbol{left}", "left"),
        (r"\text{\boxed{K}}", "K"),
        (r"5\,\text{cm}", "5 cm"),
        (r"12{,}345", "12,345"),
        (r"\(K\)", "K"),
        (r"30\degree", "30°"),
        ("30 degrees", "30°"),
        # of A6: quotes and digits of other scripts
        ("\u201eK\u201c", "K"),
        ("``K''", "K"),
        ("\u300cK\u300d", "K"),
        ("\uff15\uff0e\uff15", "5.5"),
        ("\u0663", "3"),  # an Arabic digit
        ("\u0663\u066b\u0665", "3.5"),
        ("K\u3002", "K"),
        ("K\u200b", "K"),
        ("\u2162", "III"),
        # of A8: units, percent, currency
        ("5cm", "5 cm"),
        ("5.0 cm", "5 cm"),
        ("1,000 km", "1,000km"),
        ("50 percent", "50%"),
        ("50 per cent", "50 %"),
        ("5 €", "€5"),
        ("$ 5", "$5"),
        ("5 dollars", "$5"),
        ("10:30 a.m.", "10:30 AM"),
        # of A9: lists and ranges
        ("1, 2, 3", "1,2,3"),
        ("2010 \u2013 2015", "2010-2015"),
        # of A13: a letter
        ("\u24b7", "B"),  # in a circle
        ("__B__", "B"),
        (r"$\text{(B)}$.", "B"),
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
        # neighbours of A1: what NFKC, or taking braces off, would make one
        ("10²5", "10²⁵"),
        ("10^{2}5", "10^25"),
        ("2^{3+4}", "2^3+4"),
        ("2^{1/2}", "2^1/2"),
        ("½5", "1/25"),
        ("½½", "1/21/2"),
        ("1/½", "1/1/2"),
        ("5\u215f2", "51/2"),  # the numerator one in one glyph
        ("5\xb9\u2044\u2083", "51/3"),
        ("1\u2460", "11"),
        ("1\u2488", "11"),
        ("log\u20828", "log28"),
        ("x\u2071\u2071", "XII"),
        ("x\u1d43", "xa"),
        ("5 \u33a1", "5m2"),
        ("1\u202e23", "123"),  # shown as 132
        # of A8: other units, other currencies, another form of the number
        ("5 cm", "5 mm"),
        ("US$5", "$5"),
        ("5 pounds", "£5"),
        ("1/2", "0.5"),
        ("1.000", "1,000"),
        ("1,5", "1.5"),
        ("50 percentage points", "50%"),
        ("- 5", "-5"),  # an item of a list
        # of A9
        ("12, 345, 678", "12,345,678"),
        ("5 -3", "5-3"),
        ("[red, blue]", "red, blue"),
        # of A13
        ("B or C", "B"),
        ("b b", "b"),
        ("В", "B"),  # noqa: RUF001  a Cyrillic letter
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


SNIPPETS = st.sampled_from(
    [*"0123456789abB.,-+%$€()[]{}^_/\\ '\"`*:", r"\text{", r"\boxed{", r"\frac{1}{2}", r"\circ", r"\,", r"\!",
     r"\$", r"\(", r"\]", "²", "³", "⁻", "ⁿ", "½", "⅓", "\u215f", "\u2460", "\u2488", "₂", "\u33a1", "\u2212",
     "\u2019", "「", "」",
     "\u2162", "\uff13", "\u0663", "\u066b", "\u3002", "option ", "percent", " cm", "a.m.",
     "\u0301", "\u0344", "ß", "İ", "ŉ", "ﬁ", "\u200b", "\u202e", "\u2044", "\ufdfa", "^{2}", "{,}", " euros"]
)  # fmt: skip
"""What rules are about, to stand beside each other in any way."""
WRITTEN = st.text() | st.lists(SNIPPETS, max_size=12).map("".join)


@given(WRITTEN)
def test_normalising_twice_changes_nothing(text):
    assert normalize(normalize(text)) == normalize(text)


def raised(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def lowered(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


VULGAR = {
    "½": Fraction(1, 2),
    "⅓": Fraction(1, 3),
    "⅛": Fraction(1, 8),
    "⅒": Fraction(1, 10),
    "↉": Fraction(0),
}


def numbers() -> Iterator[tuple[str, Fraction]]:
    """Numbers as they are written in many notations, and their values."""
    for n in range(0, 360):
        yield from ((str(n), Fraction(n)), (f"{n}.", Fraction(n)), (f"\u2212{n}.0", Fraction(-n)))
        yield from (
            (f"00{n}", Fraction(n)),
            (f"{n} percent", Fraction(n, 100)),
            (f"{n}.0 %", Fraction(n, 100)),
        )
        yield "".join(chr(0xFF10 + int(digit)) for digit in str(n)), Fraction(n)
        yield "".join(chr(0x0660 + int(digit)) for digit in str(n)), Fraction(n)
    for a, b in product(range(26), repeat=2):
        yield f"{a}.{b:03}", a + Fraction(b, 1000)
        yield f"{a},{b:03}", Fraction(1000 * a + b)
        yield f"{a}/{b + 1}", Fraction(a, b + 1)
        yield f"{raised(a)}\u2044{lowered(b + 1)}", Fraction(a, b + 1)
        yield f"{a}{raised(1)}\u2044{lowered(b + 1)}", a + Fraction(1, b + 1)
        yield rf"\frac{{{a}}}{{{b + 1}}}", Fraction(a, b + 1)
    for a, (glyph, value) in product(range(26), VULGAR.items()):
        yield from ((f"{a}{glyph}", a + value), (f"{a} {glyph}", a + value), (glyph, value))
        if value:
            yield from ((f"{a}/{glyph}", a / value), (f"{a}/1/{1 / value}", a * value))
    for a, b in product(range(1, 26), repeat=2):
        yield f"{a}\u215f{b}", a + Fraction(1, b)  # the glyph of a numerator 1
        yield from ((f"2^{{{a}+{b}}}", Fraction(2) ** (a + b)), (f"2^{a}+{b}", Fraction(2) ** a + b))
    for base, exponent in product(range(2, 26), range(-9, 13)):
        value = Fraction(base) ** exponent
        yield from ((f"{base}{raised(exponent)}", value), (f"{base}^{{{exponent}}}", value))


def test_no_two_numbers_become_one():
    """A1: whatever the notations, equal texts are equal numbers."""
    values: dict[str, set[Fraction]] = {}
    for text, value in numbers():
        values.setdefault(normalize(text), set()).add(value)
    assert len(values) > 2000
    assert {text: found for text, found in values.items() if len(found) > 1} == {}


REPEATED = [
    r"\text{", r"\frac{1}{", r"\$", "\\", "\\ ", r"\boxed ", r"\boxed{", r"\text ", "{", "}", "$", "(", "[",
    "*", "_", '"', "`", "1,", "1, ", ", ", " ", "\n", "9", ".", "^{2}", "^ ", "a(", "5 cm ", "-", "²", "1²",
    "½", "₂", "①", "\u33a1", "¹/₂", "\u0301", "\u0301\u0316",
]  # fmt: skip


@pytest.mark.parametrize("unit", REPEATED)
def test_the_time_is_linear(unit, monkeypatch):
    """Fifty thousand characters take tenths of a second; at the square of the length they took minutes."""
    monkeypatch.setattr(answers, "MAX_CHARACTERS", 10**6)
    text = (unit * 50_000)[:25_000]
    start = time.process_time()
    normalize(text + "}" * 25_000)
    assert time.process_time() - start < 10.0


def test_a_longer_answer_than_the_limit_is_wrong_whatever_it_holds():
    at_limit = "K" + "." * (answers.MAX_CHARACTERS - 1)
    assert is_correct(at_limit, ["K"])
    assert not is_correct(at_limit + ".", ["K", at_limit + "."])


def test_markup_in_more_layers_than_the_limit_is_no_answer():
    hidden = "K"
    for _ in range(answers.MAX_PASSES + 1):
        hidden = rf"\text{{\}}text{{{hidden}}}"  # each hides the command of the next
    assert normalize(normalize(hidden)) == normalize(hidden)
    assert is_correct(r"\text{" * 500 + "K" + "}" * 500, ["K"])


@given(WRITTEN)
def test_the_reference_itself_is_right(text):
    assert is_correct(text, [text]) == (normalize(text) != "")
