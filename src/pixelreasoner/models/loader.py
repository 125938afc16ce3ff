"""Loading a model: the only place that sets its device, number formats, attention, and what of it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from pixelreasoner.chat.chat_format import find_format
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.media import DECODED
from pixelreasoner.models.adapters import (
    ADAPTER_FOLDER,
    add_adapters,
    base_of,
    merge_adapters,
    restore_adapters,
)
from pixelreasoner.models.attention.dispatch import use_plans
from pixelreasoner.models.attention.shared_prefix import DEFAULT_RULE, AttentionRule
from pixelreasoner.models.attention.vision_attention import use_packed_attention
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.config import ModelConfig, TrainableParts
from pixelreasoner.models.patches import use_linear_patches
from pixelreasoner.models.vlm import VisionLanguageModel, renderer_of
from pixelreasoner.models.weight_files import has_weights, read_model

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_model(config: ModelConfig, *, training: bool) -> VisionLanguageModel:
    """The model of a configuration, ready to use; the process gets its threads and its cache of pictures.

    Args:
        config: which checkpoint, where, in which formats, and what of it learns.
        training: training mode and gradients for the parts that learn; else evaluation mode, and none.

    Raises:
        CheckpointError: there is no such checkpoint, it is damaged, or its architecture is not supported.
        ConfigError: there is no such device.
        MissingExtraError: `config.lora` without the package peft.
    """
    DECODED.resize(config.picture_bytes)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = find_device(config.device)
    folder = checkpoint_folder(config.checkpoint)
    lora = config.lora if training else None
    model = load_weights_of(
        folder,
        dtype=dtype_of(config, device),
        device=device,
        attention=AttentionRule(config.attention, config.max_dense_tokens),
        merge=None if lora is not None else adapters_of(config, folder),
    )
    if config.chat_format is not None:
        renderer = model.renderer
        model.renderer = renderer.with_format(
            renderer.chat_format.replaced_by(find_format(config.chat_format))
        )
    if lora is not None:
        model.base, model.merge_on_save = _base(config.checkpoint, folder), lora.merge_on_save
    if training:
        make_trainable(model, config, start=None if lora is None else adapters_of(config, folder))
    else:
        set_trainable(model, None)
    return model.train(training)


def make_trainable(model: VisionLanguageModel, config: ModelConfig, *, start: Path | None = None) -> None:
    """Give gradients to the parts or adapters that a configuration names, with or without recomputation.

    New adapters start from `config.lora.seed`, or from the folder `start`.

    Raises:
        MissingExtraError, ConfigError, CheckpointError: as `add_adapters`.
    """
    set_trainable(model, config.train if config.lora is None else None)
    if config.lora is not None:
        add_adapters(model, config.lora, start=start)
    if config.gradient_checkpointing:
        model.hf.gradient_checkpointing_enable({"use_reentrant": False})
        # transformers makes the output of fixed embeddings a leaf; pictures are written into it.
        model.hf.disable_input_require_grads()


def load_weights_of(
    folder: Path,
    *,
    dtype: torch.dtype,
    device: torch.device,
    attention: AttentionRule = DEFAULT_RULE,
    merge: Path | None = None,
) -> VisionLanguageModel:
    """A checkpoint folder as a model with this package's attention; every parameter takes gradients.

    Args:
        folder: of a checkpoint; one that holds adapters alone gives the weights they belong to.
        dtype: of the weights.
        device: where they are put.
        attention: how packed rows are computed.
        merge: a folder of adapters to add to the weights.

    Raises:
        CheckpointError: as `load_model`.
    """
    renderer = renderer_of(folder)
    weights = checkpoint_folder(base_of(folder / ADAPTER_FOLDER)) if _has_adapters_alone(folder) else folder
    hf = read_model(weights, dtype=dtype)
    if merge is not None:
        restore_adapters(hf, merge)
        merge_adapters(hf)
    prepare(hf)
    hf.to(device)  # pyright: ignore[reportArgumentType] (its stub knows no devices)
    return VisionLanguageModel(hf, renderer, source=folder, weights=weights, attention=attention)


def adapters_of(config: ModelConfig, folder: Path) -> Path | None:
    """The adapters that a model is used with, or goes on from."""
    if config.lora is not None and config.lora.start is not None:
        return config.lora.start
    return folder / ADAPTER_FOLDER if _has_adapters_alone(folder) else None


def _has_adapters_alone(folder: Path) -> bool:
    return (folder / ADAPTER_FOLDER).is_dir() and not has_weights(folder)


def _base(name: str, folder: Path) -> str:
    """What saved adapters call the checkpoint they belong to, from any working directory."""
    if _has_adapters_alone(folder):
        return base_of(folder / ADAPTER_FOLDER)
    return str(folder.resolve()) if Path(name).exists() else name


def prepare(hf: PreTrainedModel) -> None:
    """Give a transformers model this package's attention and patch embedding, in place; the numbers stay."""
    parts: Any = hf.model
    use_packed_attention(parts.visual)
    use_linear_patches(parts.visual)
    use_plans(parts.language_model)


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
        remedy = "choose auto, cpu or cuda"
        if name.startswith("cuda") and torch.version.cuda is None and torch.version.hip is None:
            remedy = "this torch is a CPU build: install the build for the driver of your GPU, or choose cpu"
        raise ConfigError(f"the device '{name}' cannot be used here ({reason}); {remedy}") from e
    return device


def dtype_of(config: ModelConfig, device: torch.device) -> torch.dtype:
    """Of the weights on that device."""
    if config.dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return DTYPES[config.dtype]
