"""Saving a model as a folder that transformers and this package load: whole, or not at all."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from pixelreasoner.chat.chat_format import CONFIG_FILE, MARK_FILE, mark_config
from pixelreasoner.chat.checkpoint_files import PREPROCESSOR_FILE, PROCESSOR_FILE, VIDEO_FILE
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.files import left_name, remove_left, sync_files, sync_folder, writing
from pixelreasoner.models.adapters import ADAPTER_FOLDER, merged_weights, save_adapters
from pixelreasoner.models.processor_config import write_processor_config
from pixelreasoner.models.vlm import VisionLanguageModel
from pixelreasoner.models.weight_files import quiet, unread_weights

PROCESSOR_FILES = (PREPROCESSOR_FILE, VIDEO_FILE, PROCESSOR_FILE)


def save_checkpoint(
    model: VisionLanguageModel,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    merge: bool | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a complete checkpoint folder in the place of the one that is there.

    Everything is written beside it first and renamed at the end, so that a kill at any moment leaves the old
    folder or the new one.

    Args:
        model: what to save; it stays as it is.
        folder: where; its parents are made.
        dtype: of the weights in the files; None keeps the one they were loaded in.
        merge: whether adapters are added to the weights. If not, the folder holds the adapters alone, and
            names the checkpoint they belong to. None: as the model's configuration says.
        weights: what to write in the place of the model's own, which other processes hold parts of: those
            that `merged_weights` gives, or with `merge` off those of `adapter_weights`.

    Raises:
        CheckpointError: the place cannot be written to, or holds something else than a checkpoint.
    """
    if folder.exists() and not (folder / CONFIG_FILE).is_file() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} holds files and no checkpoint: choose another folder to save to")
    with writing(folder, CheckpointError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_left(folder.parent, folder.name)
        part = left_name(folder)
        try:
            part.mkdir()
            if model.merge_on_save if merge is None else merge:
                named = merged_weights(model.hf) if weights is None else weights.items()
                _write_weights(model, named, part, dtype or model.dtype)
            else:
                model.hf.config.save_pretrained(part)
                save_adapters(model.hf, part / ADAPTER_FOLDER, base=model.base, weights=weights)
            _write_rest(model, part)
            sync_files(part)
            _take_name(part, folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether a folder is a checkpoint that this package has written to its end."""
    return (folder / CONFIG_FILE).is_file() and (folder / MARK_FILE).is_file()


def _write_weights(
    model: VisionLanguageModel, weights: Iterable[tuple[str, Tensor]], folder: Path, dtype: torch.dtype
) -> None:
    state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in weights}
    if model.weights is not None:
        # As they are: nothing has trained them.
        state |= unread_weights(model.weights, model.hf)
    with quiet():
        model.hf.save_pretrained(folder, state_dict=state)
    # transformers writes the dtype of the model in memory.
    path = folder / CONFIG_FILE
    config = json.loads(path.read_text())
    for section in (config, config.get("text_config"), config.get("vision_config")):
        if section is not None and "dtype" in section:
            section["dtype"] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _write_rest(model: VisionLanguageModel, folder: Path) -> None:
    mark_config(folder)
    model.renderer.tokenizer.save_pretrained(folder)
    kept = [name for name in PROCESSOR_FILES if model.source is not None and (model.source / name).exists()]
    for name in kept:
        assert model.source is not None
        shutil.copyfile(model.source / name, folder / name)
    if not kept:
        write_processor_config(folder, model.renderer)
    model.renderer.chat_format.save(folder)  # last: its mark says that the folder is whole
    if model.source is not None and (model.source / MARK_FILE).exists():
        # With what it says of where the weights come from.
        shutil.copyfile(model.source / MARK_FILE, folder / MARK_FILE)


def _take_name(part: Path, folder: Path) -> None:
    """Give `folder`'s name to `part`; an old folder ends up under the name of `part`."""
    if not folder.exists():
        part.rename(folder)
    elif not _exchanged(part, folder):
        # Two steps, where the system knows no exchange: a kill between them leaves the old folder aside, and
        # `remove_left` gives it its name back.
        old = left_name(folder, "old")
        folder.rename(old)
        try:
            part.rename(folder)
        except OSError:
            old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchanged(a: Path, b: Path) -> bool:
    """Exchange two names in one step; False where the system or its file system cannot."""
    if sys.platform not in ("linux", "darwin"):
        return False
    library = ctypes.CDLL(None)
    names = os.fsencode(a), os.fsencode(b)
    flag = 2  # RENAME_EXCHANGE, and RENAME_SWAP on a Mac
    try:
        if sys.platform == "linux":
            here = -100  # AT_FDCWD
            return library.renameat2(here, names[0], here, names[1], flag) == 0
        return library.renamex_np(*names, flag) == 0
    except AttributeError:  # an older C library
        return False
