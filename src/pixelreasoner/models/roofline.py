"""How many floating-point operations a piece of work needs at least, from the sizes of the model alone.

A multiplication and an addition count as two. Only matrix products are counted; norms, activations and the
softmax are not. With N weights in the decoder's linear layers, L layers and a = heads * head width, a forward
pass over T tokens whose contexts (the tokens each attends to, itself included) add up to X costs::

    F(T, X) = 2 N T + 4 L a X

For a prompt of P tokens with attempts of C_1 ... C_G tokens (without the last of each, from which nothing is
predicted) the contexts add up to::

    s(0, P) + sum_i s(P, C_i)        with  s(P, C) = P C + C (C + 1) / 2         prompt once
    sum_i s(0, P + C_i)                                                          attempt by attempt

A recurrent layer (Gated DeltaNet) has no contexts: a token reads the state of each value head, writes to it,
and reads it again, 6 * key width * value width operations, whatever came before.

A backward pass costs two forward passes, and recomputing activations for it costs one more. Recomputation is
a choice of the implementation: it is counted in what a method computes, never in what the work needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RecurrentSize:
    """The sizes of a decoder's recurrent layers (Gated DeltaNet)."""

    layers: int
    key_heads: int
    value_heads: int
    key_width: int
    value_width: int

    @classmethod
    def of(cls, config: Any) -> RecurrentSize | None:
        """From the text part of a transformers config; None where all layers attend."""
        kinds: Sequence[str] = getattr(config, "layer_types", None) or ()
        layers = sum(kind == "linear_attention" for kind in kinds)
        if not layers:
            return None
        return cls(
            layers=layers,
            key_heads=config.linear_num_key_heads,
            value_heads=config.linear_num_value_heads,
            key_width=config.linear_key_head_dim,
            value_width=config.linear_value_head_dim,
        )

    def products(self, width: int) -> tuple[tuple[int, int], ...]:
        """(in, out) of the linear layers in the place of attention: of queries, keys, values; of the gate of
        the output; of the two gates of the state; of the output.
        """
        keys, values = self.key_heads * self.key_width, self.value_heads * self.value_width
        gates = (width, self.value_heads)
        return ((width, 2 * keys + values), (width, values), gates, gates, (values, width))

    @property
    def state_values(self) -> int:
        """Numbers of the state of one layer and sequence."""
        return self.value_heads * self.key_width * self.value_width


@dataclass(frozen=True)
class DecoderSize:
    """The sizes of a language model that decide its cost."""

    layers: int
    """Those that attend."""
    width: int
    intermediate: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    gated: bool = False
    """Whether the queries come with a gate of the output, as wide as they are."""
    recurrent: RecurrentSize | None = None
    """The other layers, if there are some."""

    @classmethod
    def of(cls, config: Any) -> DecoderSize:
        """From the text part of a transformers config."""
        head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        recurrent = RecurrentSize.of(config)
        return cls(
            layers=config.num_hidden_layers - (recurrent.layers if recurrent else 0),
            width=config.hidden_size,
            intermediate=config.intermediate_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_width=head_width,
            vocabulary=config.vocab_size,
            # The attention layers beside recurrent ones are gated (Qwen3.5).
            gated=recurrent is not None,
            recurrent=recurrent,
        )

    @property
    def products(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of the linear layers of one block that attends."""
        q, kv = self.heads * self.head_width, self.kv_heads * self.head_width
        d, asked = self.width, 2 * q if self.gated else q
        return ((d, asked), (d, kv), (d, kv), (q, d), *self._mlp)

    @property
    def _mlp(self) -> tuple[tuple[int, int], ...]:
        d, i = self.width, self.intermediate
        return ((d, i), (d, i), (i, d))

    @property
    def weights(self) -> int:
        """N, of the linear layers of all blocks."""
        total = self.layers * _count(self.products)
        if self.recurrent is not None:
            total += self.recurrent.layers * _count((*self.recurrent.products(self.width), *self._mlp))
        return total

    def linear(self, tokens: int) -> float:
        """The linear layers, and the states of recurrent ones."""
        flops = 2.0 * tokens * self.weights
        if self.recurrent is not None:
            flops += 6.0 * tokens * self.recurrent.layers * self.recurrent.state_values
        return flops

    def attention(self, context: int) -> float:
        return 4.0 * self.layers * self.heads * self.head_width * context

    def head(self, tokens: int) -> float:
        """Vocabulary scores of so many tokens."""
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
    """Numbers of one patch: channels * frames * side * side."""
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
        """From the vision part of a transformers config."""
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
        """Of images of so many patches each."""
        context = self.full_layers * sum(n * n for n in images)
        context += (self.layers - self.full_layers) * sum(n * min(n, self.window) for n in images)
        return 4.0 * self.width * context

    def forward(self, images: Sequence[int]) -> float:
        return self.linear(sum(images)) + self.attention(images)


@dataclass(frozen=True)
class Work:
    """A group: one prompt and what was added to it, in tokens and patches."""

    prompt: int
    attempts: tuple[int, ...]
    loss_tokens: int
    """Of all attempts together."""
    prompt_images: tuple[int, ...]
    """Patches of each."""
    attempt_images: tuple[tuple[int, ...], ...]
    """Patches of each image of each attempt."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """Tokens of each attempt that something is predicted from: all but the last."""
        return tuple(n - 1 for n in self.attempts)

    @property
    def tokens(self) -> int:
        """What has to pass the decoder."""
        return self.prompt + sum(self.inputs)


def _count(products: Sequence[tuple[int, int]]) -> int:
    return sum(n_in * n_out for n_in, n_out in products)


def span(before: int, tokens: int) -> int:
    """s(P, C): contexts of `tokens` tokens that follow `before` others, added up."""
    return before * tokens + tokens * (tokens + 1) // 2


def training_flops(
    work: Work,
    decoder: DecoderSize,
    vision: VisionSize,
    *,
    shared: bool,
    frozen: bool,
    recompute: bool = False,
    adapters: bool = False,
) -> float:
    """One forward and backward pass over the group.

    Args:
        work: the group.
        decoder: sizes of the language model.
        vision: sizes of the tower.
        shared: the prompt and its images once, which is all that the work needs; else once per attempt.
        frozen: the tower takes no gradient.
        recompute: activations are computed again for the backward pass.
        adapters: only adapters learn: no gradients of the decoder's weights, a forward pass less.
    """
    passes = 3 + recompute - adapters
    own = [image for images in work.attempt_images for image in images]
    if shared:
        tokens = work.tokens
        context = span(0, work.prompt) + sum(span(work.prompt, n) for n in work.inputs)
        images = [*work.prompt_images, *own]
    else:
        tokens = sum(work.prompt + n for n in work.attempts)
        context = sum(span(0, work.prompt + n) for n in work.attempts)
        images = [*work.prompt_images * len(work.attempts), *own]
    text = passes * (decoder.linear(tokens) + decoder.attention(context))
    return text + (1 if frozen else passes) * vision.forward(images) + 3 * decoder.head(work.loss_tokens)


def rollout_flops(work: Work, decoder: DecoderSize, vision: VisionSize) -> float:
    """Every token of the group through the decoder once, every distinct image through the tower once."""
    context = span(0, work.prompt) + sum(span(work.prompt, n) for n in work.inputs)
    images = [*work.prompt_images, *(image for images in work.attempt_images for image in images)]
    text = decoder.linear(work.tokens) + decoder.attention(context)
    return text + vision.forward(images) + decoder.head(work.loss_tokens)
