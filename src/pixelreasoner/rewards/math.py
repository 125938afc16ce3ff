r"""Answers compared as mathematics, by the package math-verify (extra `math`).

The authors' evaluation scores every benchmark this way. Some of what follows from it is not what a reader
expects: "York New" equals "New York", a product being commutative, and 45% equals 0.45. Versions of the
package differ in such cases, so a report should state which one it used.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

from pixelreasoner.core.errors import MissingExtraError
from pixelreasoner.core.task import Task

TIMEOUT_S = 3
MAX_CHARACTERS = 400
"""A longer answer is no formula, and symbolic algebra on it may take minutes."""


def math(answer: str | None, references: Sequence[str], task: Task) -> float:
    r"""1 when an answer is mathematically equal to a reference: "\frac{1}{2}" and "0.5".

    A comparison is given up after 3 seconds and then scores 0. The time limit works in the main thread only.

    Raises:
        MissingExtraError: math-verify is not installed.
    """
    given = (answer or "").strip()
    if not given or len(given) > MAX_CHARACTERS:
        return 0.0
    return float(any(_equal(given, reference) for reference in references))


def _equal(answer: str, reference: str) -> bool:
    return verified(math_verify(), _boxed(reference), _boxed(answer))


def verified(package: Any, first: str, second: str) -> bool:
    """Whether math-verify takes both texts for the same; not where it fails or takes too long."""
    # Its own limits of time work in the main thread only.
    limit = TIMEOUT_S if threading.current_thread() is threading.main_thread() else None
    try:
        a, b = (package.parse(t, parsing_timeout=limit, raise_on_error=False) for t in (first, second))
        return bool(a and b) and bool(package.verify(a, b, timeout_seconds=limit))
    except package.errors.TimeoutException:
        return False


def _boxed(text: str) -> str:
    r"""In a \boxed{}, where the package looks first and takes all of it."""
    return f"\\boxed{{{text}}}"


@cache
def math_verify() -> Any:
    """The package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        importlib.import_module("math_verify.errors")
        return importlib.import_module("math_verify")
    except ImportError as e:
        raise MissingExtraError("math-verify", "math", "The scorer 'math'") from e
