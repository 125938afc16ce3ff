"""The scorer `math`: what math-verify takes for equal."""

from __future__ import annotations

import sys

import pytest

from pixelreasoner.core.errors import MissingExtraError
from pixelreasoner.core.task import Task
from pixelreasoner.rewards import math as math_scorer
from pixelreasoner.rewards.math import math

TASK = Task("t", "Q?", (), ())


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        (r"\frac{1}{2}", "0.5", True),
        ("3.50", "3.5", True),
        ("(A)", "A", True),
        ("$1,234", "1234", True),
        ("0.45", "45%", True),
        ("York New", "New York", True),  # a product, as the module says
        ("Paris", "Paris", True),
        ("London", "Paris", False),
        ("two", "2", False),
        ("10²", "102", False),
        ("x" * 1000, "x", False),
    ],
)
def test_equal_as_mathematics(answer, reference, right):
    pytest.importorskip("math_verify")
    assert math(answer, [reference], TASK) == right


@pytest.mark.parametrize("answer", [None, "", "  "])
def test_no_answer_is_wrong_and_needs_no_package(answer):
    assert math(answer, ["1"], TASK) == 0.0


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "math_verify.errors", None)
    math_scorer.math_verify.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pixelreasoner\[math\]"):
        math("1", ["1"], TASK)
    math_scorer.math_verify.cache_clear()
