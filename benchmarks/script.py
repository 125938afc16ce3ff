"""Weights that make a model generate the messages that a benchmark needs.

To compare samplers, every conversation should call an operation, and messages should not depend on the
sampler. Forcing tokens would need a hook in every engine; here the weights do it. The embedding of a token
determines the next token, because it is larger than the output of the layers::

    embedding of a token of step k   =  large * (c_k + its own direction)        c_k: a random direction
    output row of a token of step k  =  sharp * c_{k-1}                          zero for all other tokens

Every layer is computed and every token is sampled as with any other weights. The tokens of one step are
equally likely, so that rollouts differ in the words before a call and in the box of the crop. All messages of
one script have the same length, and each ends with a call.

Shape legend: V vocabulary, D hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.models.vlm import VisionLanguageModel

LARGE = 8.0
"""Root mean square of an embedding's entries; those of what the layers add stay below one."""
SHARP = 4.0
OWN = 0.5
"""The part of an embedding that differs within its step, as a share of the common part."""
WORD_CHOICES = 8
OPENING = '<tool_call>{"name": "crop_image", "arguments": {"bbox_2d": ['
CLOSING = '], "target_image": 1}}</tool_call>'
SEPARATORS = (",", ", ", " ,")
"""Three ways to write a comma: no token may occur in two steps."""


@dataclass(frozen=True)
class Script:
    """A message: the tokens that are possible in each step. No token is in two steps."""

    before: int
    """The token after which a message starts."""
    steps: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        tokens = [token for step in self.steps for token in step]
        assert len({self.before, *tokens}) == 1 + len(tokens), "no token may occur in two steps"


def crop_script(
    renderer: QwenVLRenderer, *, tokens: int, image: tuple[int, int], crop: tuple[int, int]
) -> Script:
    """Return a message of `tokens` tokens that ends with a call of `crop_image`.

    Args:
        renderer: that of a checkpoint of `benchmarks.shapes`, whose numbers are single tokens.
        tokens: at least as many as the call takes, about 20.
        image: rows and columns of the picture, in tokens of the language model.
        crop: of the crop, whatever its box.
    """
    words = {n: renderer.encode(str(n))[0] for n in range(1001)}
    # Off the middle and apart from each other, so that no number stands for two corners.
    columns = _edges(image[1], crop[1], renderer.vision.factor, at=0.2)
    rows = _edges(image[0], crop[0], renderer.vision.factor, at=0.6)
    boxes = _disjoint([columns[0], rows[0], columns[1], rows[1]])
    call: list[tuple[int, ...]] = [(t,) for t in renderer.encode(OPENING)[:-1]]
    for index, numbers in enumerate(boxes):
        call.append(tuple(words[n] for n in numbers))
        if index < len(SEPARATORS):
            call.append((_single(renderer, SEPARATORS[index]),))
    call += [(t,) for t in renderer.encode(CLOSING)]
    n_words = tokens - len(call)
    assert n_words >= 0, f"a call takes {len(call)} tokens, {tokens} are wanted"
    taken = {t for step in call for t in step}
    free = [t for t in words.values() if t not in taken]
    choices = max(1, min(WORD_CHOICES, len(free) // max(1, n_words)))
    written = [tuple(free[i * choices : (i + 1) * choices]) for i in range(n_words)]
    return Script(before=_single(renderer, "\n"), steps=(*written, *call))


@torch.no_grad()
def write_script(model: VisionLanguageModel, script: Script, *, seed: int = 0) -> None:
    """Write the script into the embedding and the output matrix; the rest of the weights stay."""
    embed_VD, head_VD = model.decoder.embed_tokens.weight, model.hf.lm_head.weight
    assert embed_VD.data_ptr() != head_VD.data_ptr(), "a script needs an output matrix of its own"
    width = embed_VD.shape[1]
    random = torch.Generator().manual_seed(seed)

    def directions(n: int) -> torch.Tensor:
        x = torch.randn(n, width, generator=random)
        return (x / x.norm(dim=1, keepdim=True)).to(embed_VD)

    common = directions(len(script.steps) + 1)
    own_VD = directions(len(embed_VD))
    step_of = {t: k for k, step in enumerate(((script.before,), *script.steps)) for t in step}
    vectors_VD = own_VD.clone()
    head_VD.zero_()
    for token, k in step_of.items():
        vectors_VD[token] = common[k] + OWN * own_VD[token]
        if k > 0:
            head_VD[token] = SHARP * common[k - 1]
    vectors_VD *= LARGE * width**0.5 / vectors_VD.norm(dim=1, keepdim=True)
    embed_VD.copy_(vectors_VD)


def _edges(whole: int, part: int, side: int, *, at: float) -> tuple[range, range]:
    """Return where `part` tokens of `whole` may begin and end, 0-1000; a share `at` of the rest is before.

    For every sampled pair, the span is resized to `part` tokens: it deviates by less than half of one.
    """
    pixels = whole * side
    choices = max(1, int(1000 * (side / 2 - 2) / pixels))
    begin = round(1000 * at * (1 - part / whole))
    end = begin + round(1000 * part / whole)
    assert end + choices <= 1001, f"no room for {part} tokens of {whole}"
    return range(begin, begin + choices), range(end, end + choices)


def _disjoint(ranges: list[range]) -> list[list[int]]:
    """Return the numbers of each range that are in no earlier one."""
    seen: set[int] = set()
    out = []
    for numbers in ranges:
        kept = [n for n in numbers if n not in seen]
        assert kept, "the ranges of a box's corners coincide"
        seen |= set(kept)
        out.append(kept)
    return out


def _single(renderer: QwenVLRenderer, text: str) -> int:
    ids = renderer.encode(text)[:-1]
    assert len(ids) == 1, f"{text!r} is {len(ids)} tokens"
    return ids[0]
