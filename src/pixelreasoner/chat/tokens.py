"""Text to tokens, with a wall between words and control tokens.

A tokenizer reads `<|image_pad|>` or `<|im_end|>` as a control token wherever it stands, in a user's question
as well as in a chat template. Here only a template's own control tokens are: conversations are put together
from pieces, and a piece of text is words whatever it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, groupby
from typing import Any

from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.trajectory import Span

Piece = str | int
"""Words, or the id of a control token."""


class TextCodec:
    """A Hugging Face tokenizer (a fast one) that keeps words and control tokens apart."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.items()
        self._ids: dict[str, int] = {token.content: index for index, token in added if token.special}
        longest_first = sorted(self._ids, key=len, reverse=True)
        self.control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        """Matches the text of any control token."""

    def control_id(self, token: str) -> int:
        """The id of a control token.

        Raises:
            CheckpointError: the tokenizer has no such token, or takes it for an ordinary word.
        """
        if token not in self._ids:
            raise CheckpointError(
                f"the tokenizer has no special token {token}; is this a Qwen-VL checkpoint?"
            )
        return self._ids[token]

    def pieces(self, markup: str) -> list[Piece]:
        """Text of our own, where control tokens are meant."""
        out: list[Piece] = []
        at = 0
        for found in self.control.finditer(markup):
            out += [markup[at : found.start()], self._ids[found.group()]]
            at = found.end()
        return [piece for piece in (*out, markup[at:]) if piece != ""]

    def encode(self, pieces: Iterable[Piece]) -> tuple[int, ...]:
        """The tokens of the pieces. Neighbouring texts are read as one, as if they had never been apart."""
        texts: list[str] = []
        places: list[int] = []
        out: list[Sequence[int]] = []
        for is_text, run in groupby(pieces, key=lambda piece: isinstance(piece, str)):
            if is_text:
                places.append(len(out))
                texts.append("".join(map(str, run)))
                out.append(())
            else:
                out.append([int(piece) for piece in run])
        for place, ids in zip(places, self._words(texts), strict=True):
            out[place] = ids
        return tuple(chain.from_iterable(out))

    def _words(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        return self._tokenizer(
            [_valid(text) for text in texts],
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
        )["input_ids"]

    def tokens_of(self, text: str, characters: Span) -> Span:
        """The tokens of a message that hold any of the given characters of `text`.

        The end of the message, a token of its own after `text`, goes with the last character.
        """
        first, end = characters
        encoded = self._tokenizer(
            _valid(text), add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
        )
        offsets: list[Span] = encoded["offset_mapping"]
        held = [i for i, (a, b) in enumerate(offsets) if a < end and b > first]
        if end == len(text):
            held.append(len(offsets))
        assert held, f"no token holds the characters {characters}"
        return held[0], held[-1] + 1

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, control tokens included."""
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _valid(text: str) -> str:
    """A lone surrogate (half a character, as broken JSON may hold) has no bytes to tokenise."""
    return text.encode(errors="replace").decode()


class Slots:
    """Content held back while a chat template is rendered, so that its markup is the template's alone."""

    _MARK = re.compile(r"\[\[slot(\d+)]]")

    def __init__(self, codec: TextCodec) -> None:
        self._codec = codec
        self._held: list[str] = []

    def hold(self, text: str, *, begins: bool = True) -> str:
        """A mark to give the template in the place of `text`.

        Blanks at its ends stay outside of the mark: some templates cut them off. Those at its beginning are
        held back too where the text does not begin a message (`begins`).
        """
        words = text.strip() if begins else text.rstrip()
        if text and not words:
            return text
        before, _, after = text.partition(words) if words else ("", "", "")
        self._held.append(words)
        return f"{before}[[slot{len(self._held) - 1}]]{after}"

    def guard(self, value: Any) -> Any:
        """The same JSON value, marks in the place of whatever reads as a control token or as a mark.

        For what a template must see to write it, such as the descriptions of tools.
        """
        if isinstance(value, str):
            for dangerous in (self._MARK, self._codec.control):
                # Marks first: the ones that the second round writes are ours.
                value = dangerous.sub(lambda found: self.hold(found.group()), value)
            return value
        if isinstance(value, Mapping):
            return {self.guard(key): self.guard(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.guard(item) for item in value]
        return value

    def fill(self, markup: str) -> list[Piece]:
        """The pieces of a rendered template, the content back in its place."""
        out: list[Piece] = []
        for index, part in enumerate(self._MARK.split(markup)):
            out += self._codec.pieces(part) if index % 2 == 0 else [self._held[int(part)]]
        return out
