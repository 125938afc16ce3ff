"""What goes to a terminal: text of models, files and users without what a terminal would obey.

An escape sequence in a model's message could clear the screen, rename the window, or write a line that looks
like one of ours. Every console of this package is a `TerminalConsole`, which shows such characters instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# C0 and C1 control characters but tab and newline; line and paragraph separator; marks, embeddings, overrides
# and isolates of the writing direction; halves of surrogate pairs, which no stream can encode.
_UNSEEN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)


def visible(text: str) -> str:
    r"""`text` with its control characters shown: ESC as "␛", U+009B as "\x9b", U+202E as "\u202e".

    Tabs and newlines stay. What is shown once stays as it is: `visible(visible(t)) == visible(t)`.
    """
    return text if text.isprintable() else _UNSEEN.sub(_shown, text)


def visible_line(text: str) -> str:
    """`text` as `visible` shows it, in one line: names, ids, answers in a table."""
    return visible(text).replace("\n", "␊").replace("\t", " ")


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's pictures of the control characters
    if code == 0x7F:
        return "␡"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class TerminalConsole(Console):
    """A console of rich that shows the control characters in what it is given, whatever prints there."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable; those that move the cursor are rich's own, and pass."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)
