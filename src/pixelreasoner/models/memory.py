"""How much memory the parts of a run take, from the sizes of a model; what a pass holds is in `dry_run`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from pixelreasoner.models.roofline import DecoderSize
from pixelreasoner.models.vlm import VisionLanguageModel


def weight_bytes(model: nn.Module) -> int:
    """Of all parameters and saved buffers; tied ones count once."""
    return sum(x.numel() * x.element_size() for x in _once(model))


def plain_bytes(model: VisionLanguageModel, *, tower: bool) -> int:
    """Of the parameters without adapters, with or without those of the vision tower."""
    left_out = set() if tower else set(model.vision.parameters())
    named = model.named_parameters()
    return sum(
        p.numel() * p.element_size() for name, p in named if ".lora_" not in name and p not in left_out
    )


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that take gradients, each once."""
    return [x for x in _once(model) if x.requires_grad]


def gradient_bytes(model: nn.Module) -> int:
    """Of the parameters that take gradients: a gradient has the format of its parameter."""
    return sum(p.numel() * p.element_size() for p in trained(model))


def autocast_bytes(model: nn.Module) -> int:
    """Of the copies in bf16 that autocast holds in a session of rollouts: those of trained fp32 matrices."""
    layers = (m.weight for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv3d)))
    found = {id(w): w.numel() for w in layers if w.requires_grad and w.dtype == torch.float32}
    return sum(found.values()) * torch.bfloat16.itemsize


def token_bytes(decoder: DecoderSize, dtype: torch.dtype) -> int:
    """Of the keys and values of one token; recurrent layers have none."""
    return 2 * decoder.layers * decoder.kv_heads * decoder.head_width * dtype.itemsize


def state_bytes(decoder: DecoderSize) -> int:
    """Of the states of the recurrent layers of one sequence, in fp32; 0 where all layers attend."""
    if decoder.recurrent is None:
        return 0
    return decoder.recurrent.layers * decoder.recurrent.state_values * torch.float32.itemsize


def decoder_size(model: VisionLanguageModel) -> DecoderSize:
    return DecoderSize.of(model.decoder.config)


def _once(model: nn.Module) -> Iterator[nn.Parameter]:
    yield from model.parameters()  # PyTorch leaves out what it has given before
