"""Attention supervision: a loss that directs attention heads to the tokens an answer depends on.

A synthetic conversation gives the region of each colour word of its answers: "The red card is here.
{"bbox_2d": [540, ...", or "The red card reads K." Seven targets connect the word with its region and with the
tokens that are predicted from it, each in one layer:

==== ===== ======================================================= =============================
 #   layer queries                                                 keys
==== ===== ======================================================= =============================
 1   0     the word                                                visual tokens of what it names
 2   1     those from which a box's numbers are predicted          the word
 3   1     "reads" and "is", from which readings are predicted     the word
 4   0     video tokens                                            the number of their own frame
 5   1     the word, before the numbers of frames                  the same tokens again
 6   2     those from which the frames' numbers are predicted      the word
 7   3     the same                                                that number, before its frames
==== ===== ======================================================= =============================

With A the layer's attention and n the queries of a target, each adds ::

    L_attention = - mean_n log( mean_h sum_{s in keys(n)} A[h, n, s] )

Without it, a small decoder trained from random weights predicts the box of the most salient thing. It learns
the path word -> thing -> coordinates late or never, because the loss of the numbers alone is a weak signal.

Shape legend: B rows, T tokens of the longest row, S the same as keys, N queries of a target, H heads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

from pixelreasoner.chat.layout import Layout, VisualBlock
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.tasks.pixelworld.questions import Place

BoolArray = npt.NDArray[np.bool_]
LAYERS = (0, 1, 1, 0, 1, 2, 3)
"""Of the seven targets, in the order of the table above."""
VERBS = frozenset({"reads", "is"})
"""Words from which a reading is predicted."""
MARKER_TOKENS = 4
"""Number of tokens before a video block in which its frame numbers are searched."""


class AttentionTarget:
    """Queries of one row, and the keys that their attention is directed to."""

    def __init__(self) -> None:
        self.query_N: list[int] = []
        self.keys_NT: list[BoolArray] = []

    def add(self, at: int, keys_T: BoolArray) -> None:
        """Add a query; skipped when it has no keys."""
        if keys_T.any():
            self.query_N.append(at)
            self.keys_NT.append(keys_T)


class TargetReader:
    """Finds the targets of a row by the argument names of the operations and the words that name things."""

    def __init__(self, model: VisionLanguageModel, words: Iterable[str]) -> None:
        """`words` distinguish things; those of more than one token are ignored."""
        tokenizer = model.renderer.tokenizer
        vocabulary = {i: tokenizer.decode([i]) for i in range(len(tokenizer))}
        self._box_keys = {i for i, text in vocabulary.items() if '"bbox_2d"' in text}
        self._frame_keys = {i for i, text in vocabulary.items() if '"target_frames"' in text}
        self._number = {i: int(text) for i, text in vocabulary.items() if text.isascii() and text.isdigit()}
        wanted = set(words)
        self._words = {i for i, text in vocabulary.items() if text.strip() in wanted}
        self._verbs = {i for i, text in vocabulary.items() if text.strip() in VERBS}
        self._space = {i for i, text in vocabulary.items() if text == " "}
        self._merge = model.renderer.vision.merge

    def read(self, layout: Layout, mask: BoolArray, regions: Sequence[Place]) -> tuple[AttentionTarget, ...]:
        """Return the seven targets.

        `mask` is the loss mask over the recorded tokens. `regions` has one entry for each colour word among
        them, in order: in the latest image before it, or in the video.
        """
        ids, loss_T = layout.ids_T.tolist(), mask[layout.owner_T]
        targets = [AttentionTarget() for _ in LAYERS]
        word_image, box_word, verb_word, frame_marker, word_frames, frames_word, frames_marker = targets
        markers = self._add_markers(layout, frame_marker)
        left = list(regions)
        word, keys_T = None, np.zeros(len(ids), np.bool_)
        for at in np.flatnonzero(loss_T).tolist():
            token = ids[at]
            if token in self._words:
                word = at
                keys_T = self._tokens_of(layout, at, left.pop(0))
                word_image.add(at, keys_T)
            elif word is not None and token in self._verbs:
                verb_word.add(at, _single(word, len(ids)))
                if ids[at + 1 : at + 2] and ids[at + 1] in self._space:  # a digit stands after a space
                    verb_word.add(at + 1, _single(word, len(ids)))
            elif word is not None and token in self._box_keys | self._frame_keys:
                target = box_word if token in self._box_keys else frames_word
                for i in self._numbers_after(ids, at):
                    target.add(i - 1, _single(word, len(ids)))
                    if token in self._frame_keys and ids[i] in markers:
                        frames_marker.add(i - 1, _single(markers[ids[i]], len(ids)))
                if token in self._frame_keys:
                    word_frames.add(word, keys_T)
        assert not left, f"{len(left)} regions more than words that name them"
        return tuple(targets)

    def _add_markers(self, layout: Layout, target: AttentionTarget) -> dict[int, int]:
        """Direct every token of a video block to the first number before the block.

        Returns the index of each frame number, by its token id.
        """
        found: dict[int, int] = {}
        for block, span in _spans(layout):
            near = range(max(0, span.start - MARKER_TOKENS), span.start)
            numbers = [i for i in near if int(layout.ids_T[i]) in self._number]
            if block.kind == "video" and numbers:
                found |= {int(layout.ids_T[i]): i for i in numbers}
                for at in range(span.start, span.stop):
                    target.add(at, _single(numbers[0], len(layout)))
        return found

    def _numbers_after(self, ids: Sequence[int], at: int) -> list[int]:
        """Return the indices of the numbers that follow, with one token between each two."""
        end = at + 1
        while end < len(ids) and ids[end] in self._number:
            end += 2
        return list(range(at + 1, end, 2))

    def _tokens_of(self, layout: Layout, at: int, region: Place) -> BoolArray:
        """Return the tokens of a region: in the latest image before `at`, or in the region's frames."""
        keys_T = np.zeros(len(layout), np.bool_)
        if region.frames:
            n_frames = 0
            for block, span in _spans(layout):
                if block.kind == "video":
                    here = range(n_frames + 1, n_frames + len(block.frames) + 1)
                    n_frames = here[-1]
                    if set(region.frames).intersection(here):
                        keys_T[span] = self._covered(block, region)
            return keys_T
        images = [(b, span) for b, span in _spans(layout) if b.kind == "image" and span.stop <= at]
        if images:
            block, span = images[-1]
            keys_T[span] = self._covered(block, region)
        return keys_T

    def _covered(self, block: VisualBlock, region: Place) -> BoolArray:
        """Return the block's tokens under the boxes: those with their centre inside, or the nearest."""
        rows, columns = (n // self._merge for n in block.grid_thw[1:])
        height, width = block.frames.shape[1:3]
        y_R, x_C = (np.arange(rows) + 0.5) * height / rows, (np.arange(columns) + 0.5) * width / columns
        covered_RC = np.zeros((rows, columns), np.bool_)
        for box in region.boxes:
            inside_RC = np.outer((box.y1 <= y_R) & (y_R <= box.y2), (box.x1 <= x_C) & (x_C <= box.x2))
            if not inside_RC.any():
                x, y = box.center
                inside_RC[np.abs(y_R - y).argmin(), np.abs(x_C - x).argmin()] = True
            covered_RC |= inside_RC
        return covered_RC.ravel()


def _single(index: int, length: int) -> BoolArray:
    keys_T = np.zeros(length, np.bool_)
    keys_T[index] = True
    return keys_T


def _spans(layout: Layout) -> Iterator[tuple[VisualBlock, slice]]:
    """Yield each block with the slice of its tokens."""
    visual = np.flatnonzero(layout.kind_T > 0)
    done = 0
    for block in layout.blocks:
        start = int(visual[done])
        yield block, slice(start, start + block.n_tokens)
        done += block.n_tokens


class AttentionSupervision:
    """Computes the attention losses in the first layers of a Qwen3-VL decoder."""

    def __init__(self, model: VisionLanguageModel) -> None:
        """Raises ConfigError when the decoder is too shallow for the targets."""
        n_layers, needed = len(model.decoder.layers), max(LAYERS) + 1
        if n_layers < needed:
            raise ConfigError(
                f"the architecture has {n_layers} decoder layers, and attention supervision needs at least "
                f"{needed}; raise architecture.layers"
            )
        self._attention = [layer.self_attn for layer in model.decoder.layers[: max(LAYERS) + 1]]
        self._input: dict[int, tuple[Tensor, tuple[Tensor, Tensor]]] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the inputs of the attention layers in the latest forward pass, for `losses`."""

        def hook(layer: int) -> Any:
            def record(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                self._input[layer] = (kwargs["hidden_states"], kwargs["position_embeddings"])

            return record

        with ExitStack() as stack:
            for index, attention in enumerate(self._attention):
                handle = attention.register_forward_pre_hook(hook(index), with_kwargs=True)
                stack.callback(handle.remove)
            yield
        self._input.clear()

    def losses(self, rows: Sequence[tuple[AttentionTarget, ...]]) -> list[Tensor]:
        """Return - sum_n log(...) per target, over the rows of the latest pass, padded on the right."""
        assert self._input, "call it inside `recording`, after a forward pass"
        scores = {layer: self._scores(layer) for layer in set(LAYERS)}
        return [_target_loss(scores[layer], [row[i] for row in rows]) for i, layer in enumerate(LAYERS)]

    def _scores(self, layer: int) -> Tensor:
        """Return the layer's attention scores before the softmax, [B, T, H, S]."""
        a, (hidden_BTD, (cos, sin)) = self._attention[layer], self._input[layer]
        shape = (*hidden_BTD.shape[:2], -1, a.head_dim)
        q = a.q_norm(a.q_proj(hidden_BTD).view(shape)).transpose(1, 2)
        k = a.k_norm(a.k_proj(hidden_BTD).view(shape)).transpose(1, 2)
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        k = k.repeat_interleave(a.num_key_value_groups, 1)
        return (q @ k.mT * a.scaling).transpose(1, 2)


def _target_loss(scores_BTHS: Tensor, targets: Sequence[AttentionTarget]) -> Tensor:
    """Return - sum_n log(...) of one target over the rows."""
    row_N = [b for b, target in enumerate(targets) for _ in target.query_N]
    device, width = scores_BTHS.device, scores_BTHS.shape[1]
    if not row_N:
        return torch.zeros((), device=device)
    keys_NS = np.zeros((len(row_N), width), np.bool_)
    for n, keys_T in enumerate(p for target in targets for p in target.keys_NT):
        keys_NS[n, : len(keys_T)] = keys_T
    query_N = torch.tensor([n for target in targets for n in target.query_N], device=device)
    scores_NHS = scores_BTHS[torch.tensor(row_N, device=device), query_N].float()
    later_NS = torch.arange(width, device=device) > query_N[:, None]
    log_a_NHS = scores_NHS.masked_fill(later_NS[:, None], -torch.inf).log_softmax(-1)
    elsewhere_NS = ~torch.from_numpy(keys_NS).to(device)
    on_target_NH = log_a_NHS.masked_fill(elsewhere_NS[:, None], -torch.inf).logsumexp(-1)
    return -(on_target_NH.logsumexp(-1) - np.log(on_target_NH.shape[1])).sum()
