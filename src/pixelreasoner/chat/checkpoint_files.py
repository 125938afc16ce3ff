"""What a checkpoint folder says about wording and pictures, read without weights and without a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixelreasoner.chat.chat_format import MOST_PIXELS, ChatFormat, PixelBudget
from pixelreasoner.chat.families import Family, family_of, read_config, read_json
from pixelreasoner.chat.pixels import Normalization
from pixelreasoner.chat.vision_spec import VisionSpec
from pixelreasoner.core.errors import CheckpointError

PREPROCESSOR_FILE, VIDEO_FILE = "preprocessor_config.json", "video_preprocessor_config.json"
PROCESSOR_FILE = "processor_config.json"
"""Where checkpoints say how pixels become numbers; the last one may hold both parts, and then goes first."""


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
    settings = _settings(folder, PREPROCESSOR_FILE, "image_processor")
    image = settings.budget(family.image)
    spec = VisionSpec(
        unit=family.unit,
        patch=vision["patch_size"],
        merge=vision.get("spatial_merge_size", 2),
        temporal_patch=vision.get("temporal_patch_size", 2),
        normalization=settings.normalization(family.normalization),
        image=image,
        crop=image,
        video_frame=family.video_frame,
        # What transformers takes where the config does not say.
        tokens_per_second=float(vision.get("tokens_per_second", 4)),
    )
    return with_format(_with_video_budget(spec, folder, family), chat_format)


def with_format(spec: VisionSpec, chat_format: ChatFormat) -> VisionSpec:
    """The spec with what a chat format says of units and budgets."""
    names = ("unit", "image", "crop", "video_frame")
    said = {name: value for name, value in dict(chat_format).items() if name in names and value is not None}
    if "image" in said:
        said.setdefault("crop", said["image"])
    if "video_frame" in said:
        said["all_frames"] = None
    return replace(spec, **said)


def _with_video_budget(spec: VisionSpec, folder: Path, family: Family) -> VisionSpec:
    """The spec with the budget of the checkpoint's own video processor, if it has one."""
    settings = _settings(folder, VIDEO_FILE, "video_processor")
    if not settings.says_pixels:
        return spec
    budget = settings.budget(family.video_frame)
    if not family.counts_all_frames:
        return replace(spec, video_frame=budget)
    each = budget.max_pixels
    if settings.values.get("cap_pixels_per_frame"):
        tokens = settings.values.get("max_video_tokens")
        each = tokens * spec.factor**2 if isinstance(tokens, int) else family.video_frame.max_pixels
    frame = PixelBudget(min_pixels=min(budget.min_pixels, each), max_pixels=each)
    return replace(spec, video_frame=frame, all_frames=budget)


@dataclass(frozen=True)
class _Settings:
    """What a file says of one processor; nothing where there is no file."""

    values: Mapping[str, Any]
    path: Path

    @property
    def says_pixels(self) -> bool:
        return any(self.values.get(name) is not None for name in ("size", "min_pixels", "max_pixels"))

    def budget(self, default: PixelBudget) -> PixelBudget:
        """The pixels, under the names of any release of transformers; one limit may move the other."""
        size = self.values.get("size") or {}
        if not isinstance(size, Mapping):
            raise CheckpointError(f"{self.path}: size is not an object with a shortest and a longest edge")
        low, high = (
            self.values.get(f"{name}_pixels") or size.get(edge) or size.get(f"{name}_pixels")
            for name, edge in (("min", "shortest_edge"), ("max", "longest_edge"))
        )
        if not all(
            limit is None or (type(limit) is int and 0 < limit <= MOST_PIXELS) for limit in (low, high)
        ):
            raise CheckpointError(
                f"{self.path}: the least and the most pixels have to be whole numbers from 1 to 2**40"
            )
        if low is None:
            low = min(default.min_pixels, high or default.min_pixels)
        if high is None:
            high = max(default.max_pixels, low)
        if low > high:
            raise CheckpointError(f"{self.path}: the least pixels ({low}) are more than the most ({high})")
        return PixelBudget(min_pixels=low, max_pixels=high)

    def normalization(self, default: Normalization) -> Normalization:
        mean, std = (
            self.values.get(name) or value
            for name, value in (("image_mean", default.mean), ("image_std", default.std))
        )
        try:
            return Normalization(_rgb(mean), _rgb(std))
        except (ValueError, TypeError) as e:
            raise CheckpointError(f"{self.path}: image_mean or image_std is not three numbers: {e}") from e


def _settings(folder: Path, own_file: str, part: str) -> _Settings:
    """The settings of an image or video processor: a part of processor_config.json, or a file of its own."""
    whole = folder / PROCESSOR_FILE
    if whole.exists() and (inner := read_json(whole).get(part)) is not None:
        if not isinstance(inner, Mapping):
            raise CheckpointError(f"{whole} is not a processor file: its {part} is no object")
        return _Settings(inner, whole)
    path = folder / own_file
    return _Settings(read_json(path) if path.exists() else {}, path)


def _rgb(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)
