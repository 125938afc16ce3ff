r"""LaTeX and Markdown around and within an answer, taken off in time linear in the text.

* font commands (`\text{...}`, `\mathrm{...}`, `\mbox{...}` and their relatives) and boxes become their
  content, `\%` and the like the bare character, `^\circ` and `\degree` the degree sign, spaces of LaTeX a
  blank;
* braces go from an exponent or an index that needs none: `10^{2}` is `10^2`, but `2^{3+4}` is not `2^3+4`;
* around the whole: math delimiters, quotes, asterisks, underscores, periods at the end.
"""

from __future__ import annotations

import re

# Possessive quantifiers, and a look behind, so that a run of backslashes or blanks is read once.
_BRACES = re.compile(
    r"(?P<font>(?<!\\)\\++"
    r"(?:text(?:rm|bf|it|sf|tt|sc|up|md|normal)?|math(?:rm|bf|it|sf|tt)|mbox|operatorname|emph|underline"
    r"|boldsymbol|boxed|fbox)\s*+\{)"
    r"|\\.|(?P<open>\{)|(?P<close>\})",
    re.DOTALL,
)
_ESCAPED = re.compile(r"(?<!\\)\\++(?=[$%&#_])")
_SPACES = re.compile(r"(?<!\\)\\(?:[,;: ]|quad(?![a-z]))")
_GROUPING = re.compile(r"(?<=[0-9])(?:\{,\}|,\\!)(?=[0-9])")
"""Commas that LaTeX is told to set without a space: 12{,}345."""
_DEGREES = re.compile(r"\^ ?(?:\{ ?\\circ ?\}|\\circ(?![a-z]))|\\(?:text)?degree(?![a-z])(?:\{\})?")
_BRACED_SCRIPT = re.compile(r"([\^_])\{([+-]?(?:[^\W_]+|[0-9]+\.[0-9]+))\}(?![\w^{]|[.,][0-9])")
_PAIRS = (
    ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"),
    ('"', '"'), ("'", "'"), ("`", "`"), ("`", "'"),
    ("«", "»"), ("\u2039", "\u203a"), ("「", "」"), ("『", "』"),
    ("*", "*"), ("_", "_"),
)  # fmt: skip
_PERIODS = (".", "\u3002")


def strip_markup(text: str) -> str:
    """`text` without its markup, its white space collapsed."""
    text = _SPACES.sub(" ", _GROUPING.sub(",", text))
    text = _unfont(" ".join(text.split()))
    text = _DEGREES.sub("°", _ESCAPED.sub("", text))
    return _strip_pairs(_BRACED_SCRIPT.sub(r"\1\2", text))


def _unfont(text: str) -> str:
    """`text` with the content of font commands in their place, however deeply they are nested."""
    out: list[str] = []
    open_at: list[int | None] = []
    """For every open brace the place of its font command in `out`; None for other braces."""
    end = 0
    for token in _BRACES.finditer(text):
        out.append(text[end : token.start()])
        end = token.end()
        if token["font"]:
            open_at.append(len(out))
        elif token["open"]:
            open_at.append(None)
        elif token["close"] and open_at and (at := open_at.pop()) is not None:
            # A font command after ^ or _ also says where the exponent ends.
            is_script = out[at - 1].endswith(("^", "_"))
            out[at] = "{" if is_script else ""
            out.append("}" if is_script else "")
            continue
        out.append(token[0])
    return "".join(out) + text[end:]


def _strip_pairs(text: str) -> str:
    """`text` without the delimiters around the whole of it and the periods at its end."""
    start, end = 0, len(text)
    while True:
        while start < end and text[start] == " ":
            start += 1
        while start < end and text[end - 1] == " ":
            end -= 1
        for left, right in _PAIRS:
            inner = end - start - len(left) - len(right)
            if inner >= 0 and text.startswith(left, start, end) and text.endswith(right, start, end):
                start, end = start + len(left), end - len(right)
                break
        else:
            if not text.endswith(_PERIODS, start, end):
                return text[start:end]
            end -= 1
