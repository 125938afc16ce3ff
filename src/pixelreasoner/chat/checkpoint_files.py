"""What a checkpoint folder says about wording and pictures, read without weights and without a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelreasoner.chat.chat_format import ChatFormat, PixelBudget
from pixelreasoner.chat.families import Family, family_of, read_config, read_json
from pixelreasoner.chat.pixels import Normalization
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.errors import CheckpointError

PREPROCESSOR_FILE, PROCESSOR_FILE = "preprocessor_config.json", "processor_config.json"
"""Where checkpoints say how pixels become numbers: most of them, and those saved by transformers 5."""


def load_vision_spec(folder: Path) -> VisionSpec:
    """How the checkpoint in `folder` sees and points.

    The chat format goes first, then the checkpoint's own processor files, then the family's defaults.

    Raises:
        CheckpointError: not a checkpoint of a supported family, or a file of it cannot be read.
    """
    return vision_spec(folder, family_of(folder), ChatFormat.load(folder))


def vision_spec(folder: Path, family: Family, chat_format: ChatFormat) -> VisionSpec:
    """As `load_vision_spec`, for a chat format of your own."""
    path = folder / "config.json"
    vision = read_config(folder).get("vision_config")
    if not isinstance(vision, Mapping) or not isinstance(vision.get("patch_size"), int):
        raise CheckpointError(f"{path} names no patch_size in vision_config; is the checkpoint complete?")
    processor = _processor(folder)
    image = _budget(processor, family.image)
    spec = VisionSpec(
        unit=family.unit,
        patch=vision["patch_size"],
        merge=vision.get("spatial_merge_size", 2),
        temporal_patch=vision.get("temporal_patch_size", 2),
        normalization=_normalization(processor, family.normalization),
        image=image,
        crop=image,
        video_frame=family.video_frame,
        tokens_per_second=float(vision.get("tokens_per_second", 2)),
    )
    return with_format(spec, chat_format)


def with_format(spec: VisionSpec, chat_format: ChatFormat) -> VisionSpec:
    """The spec with what a chat format says of units and budgets."""
    names = ("unit", "image", "crop", "video_frame")
    said = {name: value for name, value in dict(chat_format).items() if name in names and value is not None}
    return replace(spec, **said)


def _processor(folder: Path) -> Mapping[str, Any]:
    """The settings of the image processor; empty where there is no file of it."""
    for name in (PREPROCESSOR_FILE, PROCESSOR_FILE):
        path = folder / name
        if path.exists():
            config = read_json(path)
            inner = config.get("image_processor", config)
            if not isinstance(inner, Mapping):
                raise CheckpointError(f"{path} is not a processor file")
            return inner
    return {}


def _budget(processor: Mapping[str, Any], default: PixelBudget) -> PixelBudget:
    """The pixels of a picture, under the names of any release of transformers."""
    size = processor.get("size") or {}
    low = processor.get("min_pixels") or size.get("shortest_edge") or size.get("min_pixels")
    high = processor.get("max_pixels") or size.get("longest_edge") or size.get("max_pixels")
    return PixelBudget(min_pixels=low or default.min_pixels, max_pixels=high or default.max_pixels)


def _normalization(processor: Mapping[str, Any], default: Normalization) -> Normalization:
    mean, std = (
        processor.get(name) or value
        for name, value in (("image_mean", default.mean), ("image_std", default.std))
    )
    try:
        return Normalization(_rgb(mean), _rgb(std))
    except (ValueError, TypeError) as e:
        raise CheckpointError(f"the image processor's mean or std is not three numbers: {e}") from e


def _rgb(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
