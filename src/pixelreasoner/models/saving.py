"""Saving a model as a folder that transformers and this package load: whole, or not at all."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import torch
from torch import Tensor

from pixelreasoner.chat.checkpoint_files import PREPROCESSOR_FILE, PROCESSOR_FILE
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.models.adapters import merged_weights
from pixelreasoner.models.processor_config import VIDEO_FILE, write_processor_config
from pixelreasoner.models.vlm import VisionLanguageModel

PROCESSOR_FILES = (PREPROCESSOR_FILE, VIDEO_FILE, PROCESSOR_FILE)


def save_checkpoint(model: VisionLanguageModel, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write a complete checkpoint folder in the place of the one that is there.

    Everything is written beside it first and renamed at the end, so that a kill at any moment leaves the old
    folder or the new one. Adapters are merged into the weights that are written; the model keeps them.

    Args:
        model: what to save.
        folder: where; its parents are made.
        dtype: of the weights in the files; None keeps the one they were loaded in.

    Raises:
        CheckpointError: the place cannot be written to.
    """
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.old")
    try:
        part.mkdir(parents=True)
        _write(model, part, dtype or model.dtype)
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    except OSError as e:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise CheckpointError(f"{folder} cannot be written ({e.strerror or e}); nothing was lost") from e
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _write(model: VisionLanguageModel, folder: Path, dtype: torch.dtype) -> None:
    config = model.hf.config
    before = config.dtype
    config.dtype = dtype
    try:
        model.hf.save_pretrained(folder, state_dict=_state(model, dtype))
    finally:
        config.dtype = before
    model.renderer.tokenizer.save_pretrained(folder)
    model.renderer.chat_format.save(folder)
    kept = [name for name in PROCESSOR_FILES if model.source is not None and (model.source / name).exists()]
    for name in kept:
        assert model.source is not None
        shutil.copyfile(model.source / name, folder / name)
    if not kept:
        write_processor_config(folder, model.renderer)


def _state(model: VisionLanguageModel, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights to write; an output layer that is the embeddings is written once."""
    tied = model.hf.config.tie_word_embeddings
    state = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in merged_weights(model.hf)
        if not (tied and name == "lm_head.weight")
    }
    return state
