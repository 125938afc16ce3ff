"""A step of decoding of the group engine: the model reads the last token of every running message.

On a processor the step has the shape it has. On a GPU its shape is padded to one of few, and its memory is
fixed, so that it is captured and launched as a whole (`models.static_steps`).

Shape legend: B running sequences, R rows of a step, padded, D hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.attention.cascade_attention import CascadePlan
from pixelreasoner.models.attention.cascade_decoding import Decoding, DecodingRows, DecodingShape
from pixelreasoner.models.graphs import Capture, CudaCapture
from pixelreasoner.models.kv_pool import KeyValuePool
from pixelreasoner.models.recurrent_states import StateBatch
from pixelreasoner.models.static_states import StaticStateBatch
from pixelreasoner.models.static_steps import StaticStep, StaticSteps
from pixelreasoner.models.vlm import Batch, VisionLanguageModel
from pixelreasoner.policy.messages import Message
from pixelreasoner.policy.prefix_cache import PrefixCache


class CascadeSteps(Protocol):
    """A way of reading one token of each running message of a `PrefixCache`."""

    def __call__(self, cache: PrefixCache, messages: Sequence[Message], n_prompts: int) -> Tensor:
        """The hidden states [B, D] after the last token of each message; they last until the next call.

        Args:
            cache: has room for the tokens, which it keeps.
            messages: those of the first sequences of the cache.
            n_prompts: prompts of these messages: the first of the cache.
        """
        ...

    def clear(self) -> None:
        """Give up all that depends on where weights and cache lie in memory."""
        ...


class DynamicCascade:
    """Each step in the shape it has."""

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model

    def __call__(self, cache: PrefixCache, messages: Sequence[Message], n_prompts: int) -> Tensor:
        batch = self._model.embed([last_tokens(messages)], {}, left=False)
        decoding = decoding_of(cache, len(messages), n_prompts)
        plan = CascadePlan(cache.prompts.pool, cache.sequences.pool, decoding, (), self._model.device)
        return self._model(batch, cascade=plan)[0]

    def clear(self) -> None:
        pass


class StaticCascade:
    """Steps of padded shapes in fixed memory, captured when `capture` is given."""

    def __init__(self, model: VisionLanguageModel, capture: Capture | None) -> None:
        self._model = model
        self.steps: StaticSteps[DecodingShape] = StaticSteps(model.decoder, capture)

    def __call__(self, cache: PrefixCache, messages: Sequence[Message], n_prompts: int) -> Tensor:
        prompts, sequences = cache.prompts.pool, cache.sequences.pool
        # Before the first step of all, so that it allocates nothing that a later one would find elsewhere.
        sequences.allocate_like(prompts)
        decoding = decoding_of(cache, len(messages), n_prompts)
        state = id(prompts), prompts.version, id(sequences), sequences.version
        shape = self.steps.choose(DecodingShape.of(decoding).padded(prompts, sequences), state)
        n = len(messages)
        # Inert rows read token 0 at position 0.
        last_2R = np.zeros((2, shape.rows), np.int64)
        last_2R[0, :n] = [message.ids[-1] for message in messages]
        last_2R[1, :n] = [message.position for message in messages]
        values = np.concatenate([last_2R.ravel(), shape.packed(decoding)])
        make = partial(self._step, prompts, sequences, shape)
        return self.steps.run(shape, values, make)[:n]

    def clear(self) -> None:
        self.steps.clear()

    def _step(self, prompts: KeyValuePool, sequences: KeyValuePool, shape: DecodingShape) -> StaticStep:
        device, rows = self._model.device, shape.rows
        nothing_1R = torch.zeros(1, rows, dtype=torch.bool, device=device)

        def compute(values: Tensor) -> Tensor:
            ids_R, position_R, packed = values.split([rows, rows, sum(shape.sizes)])
            plan = DecodingRows.of(prompts, sequences, shape, packed, padded=True)
            embeds_1RD = self._model.decoder.embed_tokens(ids_R[None])
            batch = Batch(embeds_1RD, nothing_1R, position_R.expand(3, 1, rows), nothing_1R, [])
            return self._model(batch, cascade=plan)[0]

        return StaticStep(2 * rows + sum(shape.sizes), device, compute)


@dataclass(frozen=True)
class DecodeMode:
    """How the engines of a policy run steps of decoding."""

    is_static: bool
    """In padded shapes and fixed memory."""
    capture: Callable[[torch.device], Capture] | None = None
    """Makes what captures those, for a session."""

    def cascade(self, model: VisionLanguageModel) -> CascadeSteps:
        """For layers that all attend."""
        return StaticCascade(model, self._capture(model)) if self.is_static else DynamicCascade(model)

    def states(self, model: VisionLanguageModel) -> StateBatch | StaticStateBatch:
        """For decoders with recurrent layers."""
        return StaticStateBatch(model, self._capture(model)) if self.is_static else StateBatch(model)

    def _capture(self, model: VisionLanguageModel) -> Capture | None:
        return None if self.capture is None else self.capture(model.device)


DYNAMIC = DecodeMode(is_static=False)
STATIC = DecodeMode(is_static=True)
GRAPHS = DecodeMode(is_static=True, capture=CudaCapture)


def mode_on(device: torch.device) -> DecodeMode:
    """What suits a device: launching kernels one by one is what a GPU waits for, and a processor does not."""
    return GRAPHS if device.type == "cuda" else DYNAMIC


def decoding_of(cache: PrefixCache, n_sequences: int, n_prompts: int) -> Decoding:
    """One token for each of the first sequences of the cache, whose prompts are the first prompts."""
    sequences = cache.sequences.running[:n_sequences]
    return Decoding(
        held_B=[sequence.n_tokens for sequence in sequences],
        prompt_B=[sequence.prompt.slot for sequence in sequences],
        prompt_tokens_P=[prompt.n_tokens for prompt in cache.prompts.running[:n_prompts]],
    )


def last_tokens(messages: Sequence[Message]) -> Layout:
    """What was sampled last, to be read now: one token of each message."""
    ids_B = np.array([message.ids[-1] for message in messages], np.int64)
    position_3B = np.tile(np.array([message.position for message in messages], np.int64), (3, 1))
    return Layout(ids_B, np.zeros(len(ids_B), np.int8), np.zeros_like(ids_B), position_3B, ())
