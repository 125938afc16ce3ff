"""What makes a saved folder complete for transformers: the settings of its image and video processors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pixelreasoner.chat.checkpoint_files import PREPROCESSOR_FILE, VIDEO_FILE
from pixelreasoner.chat.qwen import QwenVLRenderer

MAX_FRAMES = 768
"""The most frames the processors of transformers take from a video."""


def write_processor_config(folder: Path, renderer: QwenVLRenderer) -> None:
    """Write the processor files, with the pixel budgets and the normalisation of `renderer`.

    `AutoImageProcessor` and `AutoTokenizer` read the folder as it is; `AutoProcessor`, which loads the video
    processor along, needs torchvision for that (transformers 5.19).
    """
    processor, video_processor = renderer.family.processors
    mean, std = renderer.vision.normalization
    common = {
        "processor_class": processor,
        "patch_size": renderer.vision.patch,
        "merge_size": renderer.vision.merge,
        "temporal_patch_size": renderer.vision.temporal_patch,
        "image_mean": list(mean),
        "image_std": list(std),
    }
    budget = renderer.vision.image
    image = common | {
        "image_processor_type": "Qwen2VLImageProcessor",
        "size": {"shortest_edge": budget.min_pixels, "longest_edge": budget.max_pixels},
    }
    video = common | {"video_processor_type": video_processor, **_frame_budget(renderer, video_processor)}
    for name, config in ((PREPROCESSOR_FILE, image), (VIDEO_FILE, video)):
        (folder / name).write_text(json.dumps(config, indent=2) + "\n")


def _frame_budget(renderer: QwenVLRenderer, video_processor: str) -> dict[str, Any]:
    """The pixel budget of a frame, in the terms of the family's video processor."""
    budget = renderer.vision.video_frame
    if video_processor == "Qwen2VLVideoProcessor":
        return {
            "size": {"shortest_edge": budget.min_pixels, "longest_edge": budget.max_pixels},
            "cap_pixels_per_frame": False,
        }
    if (whole := renderer.vision.all_frames) is not None and budget.max_pixels >= whole.max_pixels:
        return {
            "size": {"shortest_edge": whole.min_pixels, "longest_edge": whole.max_pixels},
            "cap_pixels_per_frame": False,
        }
    # Qwen3-VL counts the pixels of the whole video; the cap per frame is what we mean.
    return {
        "size": {"shortest_edge": budget.min_pixels, "longest_edge": MAX_FRAMES * budget.max_pixels},
        "cap_pixels_per_frame": True,
        "max_video_tokens": budget.max_pixels // renderer.vision.factor**2,
    }
