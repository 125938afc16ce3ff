"""What reaches a terminal: every control character of a text is seen, and none is obeyed."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from pixelreasoner.core.terminal import TerminalConsole, visible, visible_line

HOSTILE = "\x1b[2J\x1b]0;owned\x07\rfake\x9b31m\u202eevil\u2066\x7f\ud800\x00\u2028"


def obeyed(text: str) -> list[str]:
    """The characters in a text that a terminal acts upon, or that no stream takes."""
    reordering = {
        "\u061c",
        "\u200e",
        "\u200f",
        *map(chr, range(0x202A, 0x202F)),
        *map(chr, range(0x2066, 0x206A)),
    }
    kinds = ("Cc", "Cs", "Zl", "Zp")
    return [c for c in text if (unicodedata.category(c) in kinds or c in reordering) and c not in "\n\t"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\rb", "a␍b"),
        ("\x7f", "␡"),
        ("\x9b1m", "\\x9b1m"),
        ("\u202eabc", "\\u202eabc"),
        ("\ud800", "\\ud800"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("naïve 日本語 👩\u200d🚀 ½", "naïve 日本語 👩\u200d🚀 ½"),
        ("שלום", "שלום"),  # right to left without any control
    ],
)
def test_visible(text, shown):
    assert visible(text) == shown


def test_one_line_stays_one():
    assert visible_line("task\nerror: none\x1b") == "task␊error: none␛"


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "L", "Zl", "Zp"])))
def test_nothing_is_obeyed_and_nothing_is_shown_twice(text):
    shown = visible(text)
    assert obeyed(shown) == []
    assert visible(shown) == shown
    assert [c for c in shown if c in text and not obeyed(c)] == [c for c in text if not obeyed(c)] or obeyed(
        text
    )


def printed(*things: object, **options: object) -> str:
    console = TerminalConsole(file=io.StringIO(), width=60, color_system=None)
    for thing in things:
        console.print(thing, **options)  # pyright: ignore[reportArgumentType]
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_whatever_prints_to_the_console_is_shown():
    table = Table("name")
    table.add_row(Text(HOSTILE))
    said = printed(HOSTILE, Text(HOSTILE), table, markup=False)
    assert obeyed(said) == []
    assert said.count("␛[2J") == 3


def test_styles_and_the_progress_bar_still_work():
    console = TerminalConsole(file=io.StringIO(), force_terminal=True, color_system="standard", width=60)
    console.print(Text("right\x1b[0m", style="green"))
    with Progress(TextColumn("{task.description}"), console=console) as bar:
        bar.add_task("rl\x1b[2J", total=3)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "\x1b[32mright␛[0m\x1b[0m" in said
    assert "\x1b[2J" not in said
    assert "rl␛[2" in said
    assert "\x1b[?25l" in said  # the cursor is hidden: control sequences of rich's own pass
