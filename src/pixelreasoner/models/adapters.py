"""Low-rank adapters (LoRA) through peft: put into a model in place, saved alone or merged into weights."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from pixelreasoner.core.errors import CheckpointError, ConfigError, MissingExtraError
from pixelreasoner.models.config import LoraConfig
from pixelreasoner.models.vlm import VisionLanguageModel

ADAPTER_FOLDER = "adapter"
"""Within a checkpoint that was saved without its weights."""
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
"""The names that peft gives the two files of a folder with adapters."""
_NAME = "default"
"""Of the adapters, within the model."""
_BASE = ".base_layer."
_ADAPTER = ".lora_"
_AROUND = "base_model.model."
"""What peft's files put before each name: a `PeftModel` stands around the model when it reads them."""


def add_adapters(model: VisionLanguageModel, config: LoraConfig, *, start: Path | None = None) -> None:
    """Put adapters beside the linear layers that `config` names; only they take gradients, in float32.

    They go on from those in the folder `start`. New ones change nothing: their second factor starts at zero.

    Raises:
        MissingExtraError: peft is not installed.
        ConfigError: no layer has one of the names.
        CheckpointError: the adapters in `start` are of other layers or sizes.
    """
    peft = _peft()
    layers = list(_layers(model, config))
    if not layers:
        raise ConfigError(f"no linear layer is called {' or '.join(config.targets)}; see lora.targets")
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=layers
    )
    # peft draws their first factor from the global generator; it is put back afterwards.
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        _inject(peft, model.hf, settings)
    if start is not None:
        _read(peft, model.hf, start)
    for name, parameter in model.hf.named_parameters():
        parameter.requires_grad_(_ADAPTER in name)


def restore_adapters(hf: PreTrainedModel, folder: Path) -> None:
    """Put the adapters of a folder in peft's format into a model, in place, with the settings saved there.

    Raises:
        MissingExtraError: peft is not installed.
        CheckpointError: they cannot be read, or do not fit the model.
    """
    peft = _peft()
    try:
        settings = peft.LoraConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError) as e:
        raise CheckpointError(f"{folder / CONFIG_FILE} cannot be read: {e}") from e
    _inject(peft, hf, settings)
    _read(peft, hf, folder)


def save_adapters(
    hf: Any, folder: Path, *, base: str | None, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Write the adapters alone in peft's format.

    Args:
        hf: the model that has them.
        folder: made when missing.
        base: names the checkpoint that they belong to.
        weights: in the place of the model's own, by the names of `adapter_weights`.
    """
    peft = _peft()
    folder.mkdir(parents=True, exist_ok=True)
    state = peft.get_peft_model_state_dict(
        hf, state_dict=weights, adapter_name=_NAME, save_embedding_layers=False
    )
    named = {_AROUND + name: tensor.contiguous() for name, tensor in state.items()}
    save_file(named, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    settings = hf.peft_config[_NAME]
    settings.base_model_name_or_path, before = base, settings.base_model_name_or_path
    settings.save_pretrained(str(folder))
    settings.base_model_name_or_path = before


def base_of(folder: Path) -> str:
    """The checkpoint that a folder of adapters belongs to.

    Raises:
        CheckpointError: the folder does not say.
    """
    path = folder / CONFIG_FILE
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as e:
        raise CheckpointError(f"{path} cannot be read: {e}") from e
    if not isinstance(base, str):
        raise CheckpointError(f"{path} does not name the checkpoint that its adapters belong to")
    return base


def merge_adapters(hf: nn.Module) -> None:
    """Add the adapters to the weights and take them out, in place."""
    for name, layer in list(_adapted(hf)):
        plain = layer.base_layer
        plain.weight.data.copy_(_merged(layer, plain.weight.data))
        parent, _, last = name.rpartition(".")
        setattr(hf.get_submodule(parent), last, plain)


def merged_weights(hf: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Every weight once, by the names of the plain model, adapters merged in.

    A weight without adapters is the model's own tensor; one with adapters is merged when its turn comes. The
    output layer is left out where it is the embeddings. The same names and tensors are saved and sent to
    policies.
    """
    modules = dict(hf.named_modules())
    for name, tensor in hf.state_dict().items():
        if _ADAPTER in name or name in hf.all_tied_weights_keys:
            continue
        if _BASE in name:
            owner, _, kind = name.partition(_BASE)
            if kind == "weight":
                tensor = _merged(modules[owner], tensor)
            name = f"{owner}.{kind}"
        yield name, tensor


def adapter_weights(hf: nn.Module) -> dict[str, Tensor]:
    """The weights of the adapters alone."""
    return {name: tensor for name, tensor in hf.state_dict().items() if _ADAPTER in name}


def _peft() -> Any:
    try:
        return importlib.import_module("peft")
    except ImportError as e:
        raise MissingExtraError("peft", "lora", "LoRA") from e


def _layers(model: VisionLanguageModel, config: LoraConfig) -> Iterator[str]:
    wanted = set(config.targets)
    for name, module in model.hf.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        in_tower = name.startswith("model.visual.")
        if (in_tower and config.vision) or (
            name.startswith("model.language_model.") and name.rpartition(".")[2] in wanted
        ):
            yield name


def _adapted(hf: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers that have adapters, by name."""
    for name, module in hf.named_modules():
        if "base_layer" in dict(module.named_children()):
            yield name, module


def _inject(peft: Any, hf: nn.Module, settings: Any) -> None:
    peft.inject_adapter_in_model(settings, hf, adapter_name=_NAME)
    for name, parameter in hf.named_parameters():
        if _ADAPTER in name:
            # In bf16, steps of the size of a learning rate would be rounded away.
            parameter.data = parameter.data.float()


def _read(peft: Any, hf: nn.Module, folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    try:
        weights = {name.removeprefix(_AROUND): tensor for name, tensor in load_file(path).items()}
        report = peft.set_peft_model_state_dict(hf, weights, adapter_name=_NAME)
    except (OSError, SafetensorError, RuntimeError) as e:
        raise CheckpointError(f"{path} does not hold adapters of this model: {e}") from e
    wrong = [name for name in report.missing_keys if _ADAPTER in name] + list(report.unexpected_keys)
    if wrong:
        raise CheckpointError(
            f"{path} does not hold the adapters that are asked for ({', '.join(wrong[:3])}); give lora the "
            f"rank, the targets and the vision setting that they were made with"
        )


def _merged(layer: Any, weight: Tensor) -> Tensor:
    """W + (alpha / r) B A, in the weight's own dtype."""
    out = weight.float()
    with torch.no_grad():
        for adapter in layer.active_adapters:
            out = out + layer.get_delta_weight(adapter).float()
    return out.to(weight.dtype)
