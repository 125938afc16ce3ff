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

        {"checkpoint": {"name", "chat_format", "weights", "tokenizer", "config", "base", "adapters"},
         "compute": {"device", "dtype", "precision", "attention", "threads"}}

    The names of the kinds of files hold their digests (`models.digests`). `base` and `adapters`, where there
    are some, are those of the checkpoint that adapters belong to, and of adapters that lie elsewhere.
    """
    folder = checkpoint_folder(config.checkpoint)
    checkpoint: dict[str, Any] = {
        "name": config.checkpoint, "chat_format": config.chat_format, **checkpoint_digests(folder),
    }  # fmt: skip
    if (adapters := adapters_of(config, folder)) is not None:
        checkpoint["adapters"] = checkpoint_digests(adapters)
    if adapters_of(ModelConfig(), folder) is not None:  # it holds adapters alone
        checkpoint["base"] = checkpoint_digests(checkpoint_folder(base_of(folder / ADAPTER_FOLDER)))
    device = model.device
    return {
        "checkpoint": checkpoint,
        "compute": {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "dtype": str(model.dtype).removeprefix("torch."),
            "precision": config.precision,
            "attention": config.attention,
            "threads": torch.get_num_threads() if device.type == "cpu" else None,
        },
    }
