"""Low-rank adapters (LoRA) through peft: put into a model in place, merged into weights that are saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn

from pixelreasoner.core.errors import ConfigError, MissingExtraError
from pixelreasoner.models.config import LoraConfig
from pixelreasoner.models.vlm import VisionLanguageModel

_BASE = ".base_layer."
_ADAPTER = ".lora_"


def add_adapters(model: VisionLanguageModel, config: LoraConfig) -> None:
    """Put adapters beside the linear layers that `config` names; only they take gradients, in float32.

    A new adapter changes nothing: its second factor starts at zero.

    Raises:
        MissingExtraError: peft is not installed.
        ConfigError: no layer has one of the names.
    """
    try:
        from peft import LoraConfig as PeftConfig
        from peft import inject_adapter_in_model
    except ImportError as e:
        raise MissingExtraError("peft", "lora", "Training low-rank adapters") from e
    layers = list(_layers(model, config))
    if not layers:
        raise ConfigError(f"no linear layer is called {' or '.join(config.targets)}; see lora.targets")
    peft_config = PeftConfig(
        r=config.rank,
        # peft only divides it by the rank.
        lora_alpha=cast(int, config.alpha),
        lora_dropout=config.dropout,
        target_modules=layers,
    )
    inject_adapter_in_model(peft_config, model.hf)
    for name, parameter in model.hf.named_parameters():
        parameter.requires_grad_(_ADAPTER in name)
        if _ADAPTER in name:
            parameter.data = parameter.data.float()


def merged_weights(hf: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights by the names of the plain model, adapters merged in; those of a model without are its own.

    The same names and tensors are saved and sent to policies.
    """
    modules = dict(hf.named_modules())
    for name, tensor in hf.state_dict().items():
        if _ADAPTER in name:
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


def _merged(layer: Any, weight: Tensor) -> Tensor:
    """W + (alpha / r) B A, in the weight's own dtype."""
    out = weight.float()
    for adapter in layer.active_adapters:
        out = out + layer.get_delta_weight(adapter).float()
    return out.to(weight.dtype)
