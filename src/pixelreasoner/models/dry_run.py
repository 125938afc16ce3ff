"""What a packed row holds in memory, found by a pass without: the model's own code on the device "meta".

Tensors there have sizes and formats, and no numbers. The row passes the tower, the decoder and the output
layer forward and backward, by the code that trains, and every storage is counted from its allocation to its
release. What a device needs beyond that is what kernels take for themselves, and what its allocator leaves
unused.

Three things differ from a pass on a device. Index data (grids, windows, places of pictures) stay real, on the
CPU, and become sizes where they meet a tensor without memory (`models.storage_meter`). There is no autocast
for the device "meta": the linear layers are made to cast as it does. Recurrent layers do not go through all
chunks of a long row, which give the same sizes (`models.sized_recurrence`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.models.attention.shared_prefix import AttentionRule, GroupSpan, PrefixPlan
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.models.config_file import model_config
from pixelreasoner.models.loader import make_trainable, prepare, set_trainable
from pixelreasoner.models.logprobs import score_hidden
from pixelreasoner.models.sized_recurrence import use_sized_recurrence
from pixelreasoner.models.storage_meter import META, StorageMeter, tensors_of
from pixelreasoner.models.vlm import Batch, VisionLanguageModel

CONFIG_FILES = ("*.json",)
"""All of a checkpoint that is read; of one on the hub, all that is fetched."""


@dataclass(frozen=True)
class RowShape:
    """A packed row as its sizes."""

    plan: PrefixPlan
    grids: tuple[tuple[int, int, int], ...]
    """Of its pictures, each once: frames, rows and columns of patches."""
    loss_tokens: int

    @property
    def patches(self) -> int:
        return sum(t * h * w for t, h, w in self.grids)


@dataclass(frozen=True)
class RowMemory:
    """Bytes beside weights, gradients and optimiser."""

    kept: int
    """For the backward pass, when the forward pass ends."""
    peak: int
    """At the highest, gradients apart where they were there before."""


def one_group(
    prompt: int, completion: int, rollouts: int, grids: tuple[tuple[int, int, int], ...], loss_tokens: int
) -> RowShape:
    """The row of a group whose completions have the same length."""
    span = GroupSpan(prompt, (completion,) * rollouts) if rollouts > 1 else GroupSpan(prompt + completion)
    return RowShape(PrefixPlan((span,)), grids, loss_tokens)


def meta_model(
    config: ModelConfig, *, device: str, dtype: torch.dtype, training: bool
) -> VisionLanguageModel:
    """The model of a configuration without memory, from its config.json alone.

    Args:
        config: as for `loader.load_model`.
        device: type of the device it stands for ("cpu", "cuda").
        dtype: of the weights.
        training: training mode and gradients for the parts that learn; else evaluation mode, and none.

    Raises:
        CheckpointError: there is no such checkpoint, or its architecture is not supported.
        MissingExtraError: `config.lora` without the package peft.
    """
    folder = checkpoint_folder(config.checkpoint, CONFIG_FILES)
    found = model_config(folder)
    with META:
        hf = AutoModelForImageTextToText.from_config(found, dtype=dtype, attn_implementation="sdpa")
    prepare(hf)
    use_sized_recurrence(hf.model.language_model)
    # Who only counts needs no words: there may be no tokenizer beside the config.
    nobody = cast(QwenVLRenderer, None)
    rule = AttentionRule(config.attention, config.max_dense_tokens, device=device)
    model = VisionLanguageModel(hf, nobody, attention=rule)
    if training:
        make_trainable(model, config)
    else:
        set_trainable(model, None)
    return model.train(training)


def row_memory(
    model: VisionLanguageModel, row: RowShape, *, bf16_products: bool = False, gradients_held: bool = True
) -> RowMemory:
    """The memory of a forward and backward pass over a row.

    Args:
        model: without memory, in training mode (`meta_model`).
        row: what is read.
        bf16_products: autocast, as with `precision = "bf16"` on fp32 weights.
        gradients_held: whether those of an earlier row are there, so that no memory for them is counted, as
            in all rows of a step but the first; if not, those of the weights count as they come.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if gradients_held:
        for p in trained:
            p.grad = torch.empty_like(p)
    meter = StorageMeter(tensors_of(model))
    with meter, _autocast(model, on=bf16_products) as cast:
        total = _forward(model, row, cast)
        kept = meter.now
        torch.autograd.backward(total)
    for p in trained:
        p.grad = None
    return RowMemory(kept, meter.peak)


@torch.no_grad()
def reading_memory(model: VisionLanguageModel, row: RowShape, *, bf16_products: bool = False) -> int:
    """Bytes at the highest while a row is read without gradients; keys and values apart."""
    meter = StorageMeter(tensors_of(model))
    with meter, _autocast(model, on=bf16_products) as cast:
        _forward(model, row, cast)
    return meter.peak


def feature_bytes(model: VisionLanguageModel, tokens: int) -> int:
    """Of pictures of so many tokens, as the vision tower gives them."""
    deep = len(getattr(model.vision.config, "deepstack_visual_indexes", ()))
    return tokens * model.vision.config.out_hidden_size * (1 + deep) * model.dtype.itemsize


def _forward(model: VisionLanguageModel, row: RowShape, cast: AbstractContextManager[object]) -> Tensor:
    """The sum of the log-probabilities of a row; nothing else of it is held when this returns."""
    n = row.plan.n_tokens
    with cast:
        batch = _batch(model, row, _features(model, row))
        hidden_TD = model(batch, shared_prefix=row.plan)[0]
        at_N = torch.arange(row.loss_tokens) % n
        targets_N = torch.empty(row.loss_tokens, dtype=torch.long, device=META)
        return score_hidden(model, hidden_TD[at_N], targets_N).logp_N.sum()


def _features(model: VisionLanguageModel, row: RowShape) -> tuple[Tensor, list[Tensor]] | None:
    if not row.grids:
        return None
    config = model.vision.config
    channels = getattr(config, "in_channels", 3)
    width = channels * config.temporal_patch_size * config.patch_size**2
    patches = torch.empty(row.patches, width, dtype=model.vision.dtype, device=META)
    learns = any(p.requires_grad for p in model.vision.parameters())
    # A tower that learns nothing is run without gradients, as `FeatureStore` does it.
    with nullcontext() if learns else torch.no_grad():
        out = model.vision(patches, grid_thw=torch.tensor(row.grids))
    return out.pooler_output, list(out.get("deepstack_features") or ())


def _batch(model: VisionLanguageModel, row: RowShape, found: tuple[Tensor, list[Tensor]] | None) -> Batch:
    shape = (1, row.plan.n_tokens)
    embeds = model.decoder.embed_tokens(torch.empty(shape, dtype=torch.long, device=META))
    visual = torch.zeros(shape, dtype=torch.bool)
    deepstack: list[Tensor] = []
    if found is not None:
        merged, deepstack = found
        visual[0, : len(merged)] = True
        embeds.flatten(0, 1).index_copy_(0, torch.arange(len(merged)), merged.to(embeds.dtype))
    mask = torch.empty(shape, dtype=torch.long, device=META)
    return Batch(embeds, mask, torch.empty((3, *shape), dtype=torch.long, device=META), visual, deepstack)


# Autocast


class _Casts:
    """Copies of weights in bf16; those that learn are kept for the forward pass, as autocast does it."""

    def __init__(self) -> None:
        self.keeping = False
        self._kept: dict[int, Tensor] = {}

    def __call__(self, p: Tensor) -> Tensor:
        if not self.keeping or not p.requires_grad or p.dtype == torch.bfloat16:
            return p.to(torch.bfloat16)
        if id(p) not in self._kept:
            self._kept[id(p)] = p.to(torch.bfloat16)
        return self._kept[id(p)]

    @contextmanager
    def forward_pass(self) -> Iterator[None]:
        """Autocast for the forward pass. The CPU's flag is what layers ask for, also in recomputation."""
        self.keeping = True
        with torch.autocast("cpu", dtype=torch.bfloat16):
            yield
        self.keeping = False
        self._kept.clear()


@contextmanager
def _autocast(model: VisionLanguageModel, *, on: bool) -> Iterator[AbstractContextManager[object]]:
    """Make the linear layers of a model able to cast; gives the context in which they do."""
    if not on:
        yield nullcontext()
        return
    casts = _Casts()
    layers: list[Any] = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv3d))]
    try:
        for layer in layers:
            layer.forward = partial(_cast_linear, layer, casts)
        yield casts.forward_pass()
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _cast_linear(layer: Any, casts: _Casts, x: Tensor) -> Tensor:
    if not torch.is_autocast_enabled("cpu"):
        return type(layer).forward(layer, x)
    bias = None if layer.bias is None else casts(layer.bias)
    weight = casts(layer.weight).flatten(1)
    if isinstance(layer, nn.Conv3d):  # the patches of the tower (`patches.LinearPatches`)
        return F.linear(x.flatten(1).to(torch.bfloat16), weight, bias)[:, :, None, None, None]
    return F.linear(x.to(torch.bfloat16), weight, bias)
