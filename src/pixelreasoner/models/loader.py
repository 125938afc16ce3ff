"""Loading a model: the only place that sets its device, number formats, attention, and what of it learns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedModel

from pixelreasoner.core.errors import CheckpointError, ConfigError
from pixelreasoner.models.adapters import add_adapters
from pixelreasoner.models.attention.dispatch import use_planned_attention
from pixelreasoner.models.attention.vision_attention import use_packed_attention
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.config import ModelConfig, TrainableParts
from pixelreasoner.models.patches import use_linear_patches
from pixelreasoner.models.vlm import VisionLanguageModel, renderer_of

NAMES_SHOWN = 3
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_model(config: ModelConfig, *, training: bool) -> VisionLanguageModel:
    """The model of a configuration, ready to use.

    Args:
        config: which checkpoint, where, in which formats, and what of it learns.
        training: training mode and gradients for the parts that learn; else evaluation mode, and none.

    Raises:
        CheckpointError: there is no such checkpoint, it is damaged, or its architecture is not supported.
        ConfigError: there is no such device.
        MissingExtraError: `config.lora` without the package peft.
    """
    device = find_device(config.device)
    model = load_weights_of(checkpoint_folder(config.checkpoint), dtype=_dtype(config, device), device=device)
    set_trainable(model, config.train if training and config.lora is None else None)
    if config.lora is not None and training:
        add_adapters(model, config.lora)
    if training and config.gradient_checkpointing:
        model.hf.gradient_checkpointing_enable({"use_reentrant": False})
        # transformers makes the output of fixed embeddings a leaf; pictures are written into it.
        model.hf.disable_input_require_grads()
    return model.train(training)


def load_weights_of(folder: Path, *, dtype: torch.dtype, device: torch.device) -> VisionLanguageModel:
    """A checkpoint folder as a model with this package's attention; every parameter takes gradients.

    Raises:
        CheckpointError: as `load_model`.
    """
    renderer = renderer_of(folder)
    model = VisionLanguageModel(_pretrained(folder, dtype, device), renderer, source=folder)
    prepare(model.hf)
    return model


def prepare(hf: PreTrainedModel) -> None:
    """Give a transformers model this package's attention and patch embedding, in place; the numbers stay."""
    parts: Any = hf.model
    use_packed_attention(parts.visual)
    use_linear_patches(parts.visual)
    use_planned_attention(parts.language_model)


def set_trainable(model: VisionLanguageModel, parts: TrainableParts | None) -> None:
    """Say which parameters take gradients; None: no parameter does."""
    model.requires_grad_(False)
    if parts is None:
        return
    model.vision.requires_grad_(parts.vision)
    model.decoder.requires_grad_(parts.language)
    for module in (model.hf.get_input_embeddings(), model.hf.get_output_embeddings()):
        if isinstance(module, nn.Module):
            module.requires_grad_(parts.embeddings)


def find_device(name: str) -> torch.device:
    """The device a configuration names.

    Raises:
        ConfigError: there is none of that name here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        reason = str(e).splitlines()[0]
        raise ConfigError(
            f"the device '{name}' cannot be used here ({reason}); choose auto, cpu or cuda"
        ) from e
    return device


def _dtype(config: ModelConfig, device: torch.device) -> torch.dtype:
    if config.dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return DTYPES[config.dtype]


def _pretrained(folder: Path, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The transformers model of a folder, every weight of it found.

    Raises:
        CheckpointError: a file is missing or damaged, or a weight is missing or of another shape.
    """
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation="sdpa",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except (SafetensorError, EOFError) as e:
        raise CheckpointError(
            f"the weights in {folder} cannot be read ({e}): a file is cut short, or is an LFS pointer; "
            f"download it again"
        ) from e
    except (OSError, ValueError, RuntimeError) as e:
        raise CheckpointError(f"{folder} is not a complete checkpoint folder: {e}") from e
    hf, report = loaded
    # transformers would go on with random weights.
    if mismatched := sorted(report["mismatched_keys"]):
        shapes = (f"{name} is {list(found)} instead of {list(wanted)}" for name, found, wanted in mismatched)
        raise CheckpointError(f"{folder} holds weights of other shapes: {_few(list(shapes))}")
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(f"{folder} lacks weights: {_few(missing)}")
    return hf.to(device)


def _few(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
