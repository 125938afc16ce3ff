"""The minimal floating-point operations of a piece of work, from the sizes of the model alone.

A multiplication and an addition count as two. Only matrix products are counted; norms, activations and the
softmax are not. With N weights in the decoder's linear layers, L layers and a = heads * head width, a forward
pass over T tokens whose contexts (the tokens each attends to, itself included) add up to X costs::

    F(T, X) = 2 N T + 4 L a X

For a prompt of P tokens with rollouts of C_1 ... C_G tokens (without the last of each, from which nothing is
predicted) the contexts add up to::

    s(0, P) + sum_i s(P, C_i)        with  s(P, C) = P C + C (C + 1) / 2         prompt once
    sum_i s(0, P + C_i)                                                          rollout by rollout

A backward pass costs two forward passes, and recomputing activations for it costs one more. Recomputation is
a choice of the implementation: it is counted in what a method computes, never in what the work needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DecoderSize:
    """The sizes of a language model that decide its cost."""

    layers: int
    width: int
    intermediate: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> DecoderSize:
        """Return the sizes from the text part of a transformers config."""
        head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            intermediate=config.intermediate_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_width=head_width,
            vocabulary=config.vocab_size,
        )

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        """Return (in, out) of the linear layers of one block."""
        q, kv = self.heads * self.head_width, self.kv_heads * self.head_width
        d, i = self.width, self.intermediate
        return ((d, q), (d, kv), (d, kv), (q, d), (d, i), (d, i), (i, d))

    def linear(self, tokens: int) -> float:
        return 2.0 * tokens * self.layers * sum(n_in * n_out for n_in, n_out in self.products)

    def attention(self, context: int) -> float:
        return 4.0 * self.layers * self.heads * self.head_width * context

    def head(self, tokens: int) -> float:
        """Return the operations of the logits of so many tokens."""
        return 2.0 * tokens * self.width * self.vocabulary


@dataclass(frozen=True)
class VisionSize:
    """The sizes of a Qwen-VL vision tower that decide its cost."""

    layers: int
    width: int
    intermediate: int
    gated: bool
    """Whether the MLP has three matrices (Qwen2.5-VL) or two (Qwen3-VL)."""
    patch_values: int
    """Values of one patch: channels * frames * side * side."""
    merge: int
    """Patches that become one token."""
    out_width: int
    full_layers: int
    """Layers in which a patch attends to the whole image; in the others, to its window."""
    window: int
    """Patches of a window."""
    mergers: int
    """The last one, and those of deepstack."""

    @classmethod
    def of(cls, config: Any) -> VisionSize:
        """Return the sizes from the vision part of a transformers config."""
        windowed = hasattr(config, "fullatt_block_indexes")
        return cls(
            layers=config.depth,
            width=config.hidden_size,
            intermediate=config.intermediate_size,
            gated=windowed,
            patch_values=config.in_channels * config.temporal_patch_size * config.patch_size**2,
            merge=config.spatial_merge_size**2,
            out_width=config.out_hidden_size,
            full_layers=len(config.fullatt_block_indexes) if windowed else config.depth,
            window=(config.window_size // config.patch_size) ** 2 if windowed else 0,
            mergers=1 + len(getattr(config, "deepstack_visual_indexes", ())),
        )

    def linear(self, patches: int) -> float:
        matrices = 3 if self.gated else 2
        block = 4 * self.width**2 + matrices * self.width * self.intermediate
        wide = self.width * self.merge
        merger = (wide * wide + wide * self.out_width) / self.merge
        return 2.0 * patches * (self.patch_values * self.width + self.layers * block + self.mergers * merger)

    def attention(self, images: Sequence[int]) -> float:
        """Return the operations of attention over images of so many patches each."""
        context = self.full_layers * sum(n * n for n in images)
        context += (self.layers - self.full_layers) * sum(n * min(n, self.window) for n in images)
        return 4.0 * self.width * context

    def forward(self, images: Sequence[int]) -> float:
        return self.linear(sum(images)) + self.attention(images)


@dataclass(frozen=True)
class Work:
    """A group: one prompt and its rollouts, in tokens and patches."""

    prompt: int
    rollouts: tuple[int, ...]
    loss_tokens: int
    """Of all rollouts together."""
    prompt_images: tuple[int, ...]
    """Patches of each."""
    rollout_images: tuple[tuple[int, ...], ...]
    """Patches of each image of each rollout."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """Return the input tokens of each rollout: all but the last."""
        return tuple(n - 1 for n in self.rollouts)

    @property
    def tokens(self) -> int:
        """Return the tokens that pass the decoder."""
        return self.prompt + sum(self.inputs)


def span(before: int, tokens: int) -> int:
    """Return s(P, C): the sum of the contexts of `tokens` tokens that follow `before` others."""
    return before * tokens + tokens * (tokens + 1) // 2


def training_flops(
    work: Work,
    decoder: DecoderSize,
    vision: VisionSize,
    *,
    shared: bool,
    frozen: bool,
    recompute: bool = False,
) -> float:
    """Return the operations of one forward and backward pass over the group.

    Args:
        work: the group.
        decoder: sizes of the language model.
        vision: sizes of the tower.
        shared: the prompt and its images once, which is the minimum; else once per rollout.
        frozen: the tower takes no gradient.
        recompute: activations are computed again for the backward pass.
    """
    passes = 4 if recompute else 3
    own = [image for images in work.rollout_images for image in images]
    if shared:
        tokens = work.tokens
        context = span(0, work.prompt) + sum(span(work.prompt, n) for n in work.inputs)
        images = [*work.prompt_images, *own]
    else:
        tokens = sum(work.prompt + n for n in work.rollouts)
        context = sum(span(0, work.prompt + n) for n in work.rollouts)
        images = [*work.prompt_images * len(work.rollouts), *own]
    text = passes * (decoder.linear(tokens) + decoder.attention(context))
    return text + (1 if frozen else passes) * vision.forward(images) + 3 * decoder.head(work.loss_tokens)


def rollout_flops(work: Work, decoder: DecoderSize, vision: VisionSize) -> float:
    """Return the operations of every token in the decoder once and every distinct image in the tower once."""
    context = span(0, work.prompt) + sum(span(work.prompt, n) for n in work.inputs)
    images = [*work.prompt_images, *(image for images in work.rollout_images for image in images)]
    text = decoder.linear(work.tokens) + decoder.attention(context)
    return text + vision.forward(images) + decoder.head(work.loss_tokens)
