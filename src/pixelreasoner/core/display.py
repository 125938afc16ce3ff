"""How records show themselves: short text for `repr`, and a page where a notebook asks for one.

Records lie below what draws pages, so nothing here imports it: the package's root says in `HTML` what draws
which record, and it is imported when a notebook first asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAX_CHARACTERS = 60
"""Of a text in a `repr`; a longer one is cut."""

HTML: dict[str, Callable[[Any], str]] = {}
"""What draws a record as HTML, by the name of its class."""


def quoted(text: str) -> str:
    """A text on one line, in quotes, cut to `MAX_CHARACTERS`; control characters are escaped."""
    line = " ".join(text[: 4 * MAX_CHARACTERS].split())
    cut = len(line) > MAX_CHARACTERS or len(text) > 4 * MAX_CHARACTERS
    return repr(f"{line[: MAX_CHARACTERS - 1]}…" if cut else line)


def counted(n: int, noun: str) -> str:
    """A number with its noun: "1 image", "2 images"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def html_of(record: object) -> str | None:
    """A record as HTML; None where nothing draws it, and a notebook then shows its `repr`."""
    draw = HTML.get(type(record).__name__)
    return None if draw is None else draw(record)
