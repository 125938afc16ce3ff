"""What a result has to say of the model that gave it."""

from __future__ import annotations

from typing import Any

import torch

from pixelreasoner.models.adapters import ADAPTER_FOLDER, base_of
from pixelreasoner.models.checkpoints import checkpoint_folder
from pixelreasoner.models.config import ModelConfig
from pixelreasoner.models.digests import checkpoint_digests
from pixelreasoner.models.loader import adapters_of
from pixelreasoner.models.vlm import VisionLanguageModel


def model_facts(config: ModelConfig, model: VisionLanguageModel) -> dict[str, Any]:
    """Which checkpoint, and how it was computed; ready for JSON::

    {"checkpoint": as `checkpoint_facts`,
     "compute": {"device", "dtype", "precision", "attention", "threads"}}
    """
    device = model.device
    return {
        "checkpoint": checkpoint_facts(config),
        "compute": {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "dtype": str(model.dtype).removeprefix("torch."),
            "precision": config.precision,
            "attention": config.attention,
            "threads": torch.get_num_threads() if device.type == "cpu" else None,
        },
    }


def checkpoint_facts(config: ModelConfig) -> dict[str, Any]:
    """Which checkpoint a configuration names: `name`, `chat_format`, and digests of its files.

    `weights`, `tokenizer` and `config` are those of `models.digests`. `adapters` and `base`, where there are
    some, hold those of the adapters that are added, and of the checkpoint that a folder of adapters alone
    belongs to.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    folder = checkpoint_folder(config.checkpoint)
    facts: dict[str, Any] = {"name": config.checkpoint, "chat_format": config.chat_format}
    facts |= checkpoint_digests(folder)
    if (adapters := adapters_of(config, folder)) is not None:
        facts["adapters"] = checkpoint_digests(adapters)
    if adapters_of(ModelConfig(), folder) is not None:  # it holds adapters alone
        facts["base"] = checkpoint_digests(checkpoint_folder(base_of(folder / ADAPTER_FOLDER)))
    return facts
