"""Curves in braille, by hand: a character is two dots wide and four high."""

from __future__ import annotations

import math

import pytest

from pixelreasoner.core.metrics_file import Curve
from pixelreasoner.viewer.terminal_plot import LABEL, plot_text


def drawn(*curves: Curve, width: int = LABEL + 8, height: int = 2) -> list[str]:
    named = {str(i): curve for i, curve in enumerate(curves)}
    text = plot_text(named, title="t", styles=dict.fromkeys(named, "red"), width=width, height=height)
    return text.plain.split("\n")


def test_a_diagonal_goes_from_the_lower_left_to_the_upper_right():
    """Eight columns of sixteen dots over two rows of eight: two dots to the right for each one up."""
    title, top, bottom, steps = drawn(Curve(tuple(range(1, 17)), tuple(float(i // 2) for i in range(16))))
    assert title == "t"
    assert top == f"{'7':>{LABEL - 2}} ┤    ⣀⠤⠒⠉"
    assert bottom == f"{'0':>{LABEL - 2}} ┤⣀⠤⠒⠉    "
    assert steps == f"{'':{LABEL}}1     16"


def test_a_value_that_is_not_finite_leaves_a_gap():
    with_gap = drawn(Curve((1, 2, 3, 4, 5), (0.0, 0.0, math.nan, 0.0, 1.0)))
    without = drawn(Curve((1, 2, 3, 4, 5), (0.0, 0.0, 0.0, 0.0, 1.0)))
    assert with_gap[2].count(" ") > without[2].count(" ")


def test_curves_share_one_scale():
    """Steps 1 to 2 and 4 to 5 of 5 are the first and the last five of sixteen columns."""
    *_, top, bottom, steps = drawn(Curve((1, 2), (1.0, 1.0)), Curve((4, 5), (0.0, 0.0)))
    assert (top[LABEL:].rstrip(), bottom[LABEL:].lstrip()) == ("⠉⠉⠁", "⢀⣀⣀")
    assert steps.split() == ["1", "5"]


@pytest.mark.parametrize("value", [0.0, 0.75, -3.0])
def test_a_constant_lies_in_the_middle_of_a_range(value: float):
    rows = drawn(Curve((1, 2), (value, value)), height=3)
    assert set(rows[2][LABEL:]) - {" "}, "the middle one"
    assert not rows[1][LABEL:].strip()
    assert not rows[3][LABEL:].strip()


def test_nothing_finite_is_said():
    assert drawn(Curve((1,), (math.nan,))) == ["t", "(no finite values)"]
