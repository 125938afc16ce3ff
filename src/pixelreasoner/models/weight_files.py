"""The weight files of a checkpoint folder, looked at before anything is loaded, and read into a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForImageTextToText, PreTrainedModel
from transformers.utils import logging as transformers_logging

from pixelreasoner.chat.families import read_json
from pixelreasoner.core.damage import damage_of
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.models.config_file import model_config

INDEX_FILE = "model.safetensors.index.json"
SHOWN = 3
"""Names of weights in a message, at most."""


def has_weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def read_model(folder: Path, *, dtype: torch.dtype) -> PreTrainedModel:
    """The transformers model of a folder, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: config.json cannot be used; weights are damaged, missing, or of another shape than it
            says.
    """
    _check_files(folder)
    model_config(folder)
    try:
        # Some classes draw numbers that the weights then overwrite.
        with quiet(), torch.random.fork_rng(devices=[]):
            # Mismatches are reported as our own error, with names and shapes.
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="sdpa",
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except (OSError, ValueError) as e:
        raise CheckpointError(f"{folder} is not a complete checkpoint folder: {e}") from e
    except (SafetensorError, RuntimeError, KeyError) as e:
        raise CheckpointError(f"the weights in {folder} cannot be loaded: {e}") from e
    model, report = loaded
    _check_report(folder, report)
    return model


def unread_weights(folder: Path, hf: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The weights of a folder that its model has no place for, such as `mtp.*` (multi-token prediction).

    They are small beside the others: servers draft tokens with them. None where the folder has gone.

    Raises:
        CheckpointError: a file cannot be read.
    """
    patterns = [re.compile(p) for p in hf._keys_to_ignore_on_load_unexpected or ()]
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")) if patterns else ():
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (no mapping)
                    if any(p.match(name) for p in patterns):
                        found[name] = file.get_tensor(name)
        except (SafetensorError, OSError) as e:
            raise CheckpointError(f"{path} cannot be read ({damage_of(path)}); download it again") from e
    return found


def _check_files(folder: Path) -> None:
    """Open each file: transformers would name neither the file nor the reason."""
    index = folder / INDEX_FILE
    paths = sorted(folder.glob("*.safetensors"))
    if index.is_file():
        paths = [folder / name for name in _indexed(index)]
    elif not paths and not any(folder.glob("*.bin")):
        raise CheckpointError(f"{folder} holds no weights (*.safetensors); download the checkpoint again")
    for path in paths:
        try:
            with safe_open(path, framework="pt"):
                pass
        except FileNotFoundError as e:
            raise CheckpointError(
                f"{path} is missing, and {index.name} names it; download the checkpoint again"
            ) from e
        except (SafetensorError, OSError) as e:
            raise CheckpointError(f"{path} cannot be read ({damage_of(path)}); download it again") from e


def _indexed(index: Path) -> list[str]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(n, str) for n in names.values()):
        raise CheckpointError(f"{index} cannot be read (it has no weight_map); download it again")
    return sorted(set(names.values()))


def _check_report(folder: Path, report: dict[str, Any]) -> None:
    """Refuse what transformers would go on with, with random weights."""
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(f"{folder} lacks weights: {_few(missing)}")
    if wrong := sorted(report["mismatched_keys"]):
        described = [
            f"{name} is {_shape(found)} and should be {_shape(right)}" for name, found, right in wrong
        ]
        raise CheckpointError(
            f"{folder} holds weights of another shape than its config.json says: {_few(described)}"
        )


def _few(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f", and {more} more" if more > 0 else "")


def _shape(size: torch.Size) -> str:
    return "x".join(map(str, size))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and reports off the terminal; problems are raised instead."""
    level, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()
