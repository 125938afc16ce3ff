"""Files of the releases of Qwen-VL that lie in packages: the vocabulary and the chat templates.

`make test-slow` installs the packages. Nothing of them is imported: the files are all that is used.
"""

from __future__ import annotations

import base64
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def released_template(name: str) -> str:
    """A chat template as it was released; without the package that ships a copy, the test is skipped."""
    return _file("trl", name).read_text()


OF_QWEN3_5 = (
    "<tool_response>", "</tool_response>", "<think>", "</think>", "<|audio_start|>", "<|audio_end|>",
    "<|audio_pad|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>", "<tts_text_bos_single>",
)  # fmt: skip
"""Tokens that Qwen3.5 has besides. Its own vocabulary, of 248,320 rows, lies in no package."""


def released_tokenizer(more: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """The byte-level BPE of `qwen.tiktoken`: merges follow from the ranks of the tokens.

    `more` are tokens of a later family; those for media are control tokens.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    rows = (line.split() for line in _file("dashscope", "qwen.tiktoken").read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    letters = bytes_to_unicode()

    def letter(token: bytes) -> str:
        return "".join(letters[b] for b in token)

    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [bytes([b]) for b in token]
        while len(parts) > 2:  # merge by rank, below the token's own, until the two it is made of are left
            pairs = [(ranks.get(a + b, rank), i) for i, (a, b) in enumerate(pairwise(parts))]
            lowest, i = min(pairs)
            assert lowest < rank
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        if len(parts) == 2:
            merges.append((letter(parts[0]), letter(parts[1])))
    tok = Tokenizer(models.BPE({letter(t): rank for t, rank in ranks.items()}, merges))
    tok.normalizer = normalizers.NFC()
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    special = (
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
        "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>",
        "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
    )  # fmt: skip
    plain = (
        "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
        "<|repo_name|>", "<|file_sep|>",
    )  # fmt: skip
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tok.add_tokens([AddedToken(t, special=False, normalized=False) for t in plain])
    for token in more:
        tok.add_tokens([AddedToken(token, special="audio" in token or "tts" in token, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tok,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )


def _file(package: str, name: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"the package {package} is not installed: make test-slow does it")
    (path,) = Path(spec.origin).parent.rglob(name)
    return path
