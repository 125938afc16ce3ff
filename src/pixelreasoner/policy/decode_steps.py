"""A step of decoding: the model reads the last token of every running message.

On a processor the step has the shape it has. On a GPU it is a function of fixed memory (`StaticSteps`): its
shape is padded to one of few, its input is copied to one place, and its output is read from another. So it
can be captured and launched as a whole (`models.graphs`); what is captured reads the weights where they lie,
and is given up when keys and values, or weights, get other memory.

Shape legend: B running sequences, R rows of a step, padded, D hidden width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pixelreasoner.chat.layout import Layout
from pixelreasoner.models.attention.cascade_attention import CascadePlan
from pixelreasoner.models.attention.cascade_decoding import Decoding, DecodingRows, DecodingShape
from pixelreasoner.models.graphs import Capture, CudaCapture, Replayable
from pixelreasoner.models.vlm import Batch, VisionLanguageModel
from pixelreasoner.policy.messages import Message
from pixelreasoner.policy.prefix_cache import PrefixCache

WARM_UPS = 1
"""Steps of a shape before it is captured: what comes once is not worth it."""
MOST_SHAPES = 32
"""Shapes that are remembered, the most recently used."""


class DecodeSteps(Protocol):
    """A way of reading one token of each running message."""

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


class DynamicSteps:
    """Each step in the shape it has."""

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model

    def __call__(self, cache: PrefixCache, messages: Sequence[Message], n_prompts: int) -> Tensor:
        batch = self._model.embed([last_tokens(messages)], {}, left=False)
        prompts, sequences = cache.prompts.pool, cache.sequences.pool
        decoding = decoding_of(cache, len(messages), n_prompts)
        plan = CascadePlan(prompts, sequences, decoding, (), self._model.device)
        return self._model(batch, cascade=plan)[0]

    def clear(self) -> None:
        pass


class StaticSteps:
    """Steps of padded shapes, captured when `capture` is given."""

    def __init__(self, model: VisionLanguageModel, capture: Capture | None = None) -> None:
        self._model, self._capture = model, capture
        self._steps: OrderedDict[DecodingShape, _Step] = OrderedDict()
        self._places: tuple[int, ...] = ()
        self._weights = [
            (module._parameters, name)
            for module in (model.decoder.modules() if capture is not None else ())
            for name in module._parameters
        ]

    @property
    def n_captured(self) -> int:
        """Shapes that are launched as a whole."""
        return sum(step.graph is not None for step in self._steps.values())

    def __call__(self, cache: PrefixCache, messages: Sequence[Message], n_prompts: int) -> Tensor:
        prompts, sequences = cache.prompts.pool, cache.sequences.pool
        decoding = decoding_of(cache, len(messages), n_prompts)
        places = (id(prompts), prompts.version, id(sequences), sequences.version, *self._weight_places())
        if places != self._places:
            self.clear()
        shape = DecodingShape.of(decoding).padded(prompts, sequences)
        step = self._steps.pop(shape, None) or _Step(self._model, cache, shape)
        self._steps[shape] = step
        if len(self._steps) > MOST_SHAPES:
            self._steps.popitem(last=False)
        step.fill(messages, decoding)
        hidden_BD = step.run(self._capture)[: len(messages)]
        # The first step of all allocates keys and values.
        self._places = (id(prompts), prompts.version, id(sequences), sequences.version, *places[4:])
        return hidden_BD

    def clear(self) -> None:
        self._steps.clear()
        if self._capture is not None:
            self._capture.clear()

    def _weight_places(self) -> list[int]:
        """Where each weight of the decoder lies."""
        found = [owner[name] for owner, name in self._weights]
        return [0 if weight is None else weight.data_ptr() for weight in found]


class _Step:
    """Steps of one shape: the memory for their input and output."""

    def __init__(self, model: VisionLanguageModel, cache: PrefixCache, shape: DecodingShape) -> None:
        self._model, self.shape = model, shape
        self._prompts, self._sequences = cache.prompts.pool, cache.sequences.pool
        self.graph: Replayable | None = None
        self._n_runs = 0
        size = 2 * shape.rows + sum(shape.sizes)
        device = model.device
        self._host = torch.zeros(size, dtype=torch.int64, pin_memory=device.type == "cuda")
        self._input = torch.zeros(size, dtype=torch.int64, device=device)
        self._nothing = torch.zeros(1, shape.rows, dtype=torch.bool, device=device)
        self._out_RD: Tensor | None = None

    def fill(self, messages: Sequence[Message], decoding: Decoding) -> None:
        """Copy the input of a step to where it is read. Inert rows read token 0 at position 0."""
        n, rows = len(messages), self.shape.rows
        host = self._host.numpy()
        host[: 2 * rows] = 0
        host[:n] = [message.ids[-1] for message in messages]
        host[rows : rows + n] = [message.position for message in messages]
        host[2 * rows :] = self.shape.packed(decoding)
        # Each step ends with a look at what was sampled: the copy before this one is done.
        self._input.copy_(self._host, non_blocking=True)

    def run(self, capture: Capture | None) -> Tensor:
        """The hidden states [R, D] of the last input."""
        if self.graph is not None:
            self.graph.replay()
        elif capture is None or self._n_runs < WARM_UPS:
            self._compute()
        else:
            self.graph = capture(self._compute)
        self._n_runs += 1
        assert self._out_RD is not None
        return self._out_RD

    def _compute(self) -> None:
        """From input to output, on the device alone."""
        rows = self.shape.rows
        ids_R, position_R, packed = self._input.split([rows, rows, sum(self.shape.sizes)])
        plan = DecodingRows.of(self._prompts, self._sequences, self.shape, packed, padded=True)
        embeds_1RD = self._model.decoder.embed_tokens(ids_R[None])
        position_31R = position_R.expand(3, 1, rows)
        batch = Batch(embeds_1RD, self._nothing, position_31R, self._nothing, [])
        hidden_RD = self._model(batch, cascade=plan)[0]
        if self._out_RD is None:
            self._out_RD = torch.empty_like(hidden_RD)
        self._out_RD.copy_(hidden_RD)


def steps_for(model: VisionLanguageModel) -> DecodeSteps:
    """The way that suits the model's device."""
    if model.device.type == "cuda":
        return StaticSteps(model, CudaCapture(model.device))
    return DynamicSteps(model)


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
