"""transformers' own processors, as the reference for prompts and pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelreasoner.chat.checkpoint_files import with_format
from pixelreasoner.chat.qwen import QwenVLRenderer
from pixelreasoner.core.media import Media, Picture


class GridOnlyVideoProcessor:
    """Stands in for the video processors, which need torchvision: it knows shapes, not pixels."""

    def __init__(self, renderer: QwenVLRenderer) -> None:
        self.merge_size, self.temporal_patch_size = renderer.vision.merge, renderer.vision.temporal_patch
        self.model_input_names = ["pixel_values_videos", "video_grid_thw"]
        self._patch = renderer.vision.patch

    def __call__(
        self, videos: Sequence[np.ndarray], video_metadata: Sequence[Any], **_: Any
    ) -> dict[str, Any]:
        grids = [
            [-(-len(v) // self.temporal_patch_size), v.shape[1] // self._patch, v.shape[2] // self._patch]
            for v in videos
        ]
        return {"video_grid_thw": np.array(grids), "video_metadata": list(video_metadata)}


@pytest.fixture
def processor() -> Callable[[QwenVLRenderer], Any]:
    """The family's processor of transformers around the renderer's tokenizer, whatever is installed."""
    import transformers

    def build(renderer: QwenVLRenderer) -> Any:
        family = getattr(transformers, renderer.family.processors[0])
        unchecked = type("Unchecked", (family,), {"check_argument_for_proper_class": lambda *_: None})
        vision = renderer.vision
        budget = vision.image
        image_processor = transformers.Qwen2VLImageProcessorPil(
            patch_size=vision.patch, merge_size=vision.merge, temporal_patch_size=vision.temporal_patch,
            size={"shortest_edge": budget.min_pixels, "longest_edge": budget.max_pixels},
            image_mean=list(vision.normalization.mean), image_std=list(vision.normalization.std),
        )  # fmt: skip
        tokenizer = renderer.tokenizer
        video_processor = GridOnlyVideoProcessor(renderer)
        return unchecked(image_processor, tokenizer, video_processor, chat_template=tokenizer.chat_template)

    return build


@pytest.fixture
def reference(processor: Callable[[QwenVLRenderer], Any]) -> Callable[..., dict[str, Any]]:
    """What transformers makes of a first message: token ids, pixels, grids."""
    from transformers.video_utils import VideoMetadata

    def prompt(
        renderer: QwenVLRenderer, media: Sequence[Media], text: str, *, system: str, tools: Sequence[Any]
    ) -> dict[str, Any]:
        content: list[dict[str, str]] = [
            {"type": "image" if isinstance(m, Picture) else "video"} for m in media
        ]
        content.append({"type": "text", "text": text})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if system:
            messages.insert(0, {"role": "system", "content": system})
        built = processor(renderer)
        markup = built.apply_chat_template(messages, tools=list(tools) or None, add_generation_prompt=True)
        # As images: of an array with a side of 1 or 3 it would guess the wrong side for the channels.
        images = [Image.fromarray(m.pixels) for m in media if isinstance(m, Picture)]
        videos = [m for m in media if not isinstance(m, Picture)]
        fps = [1.0 / (v.times_s[1] - v.times_s[0]) for v in videos]
        return dict(
            built(
                text=[markup],
                images=images or None,
                videos=[np.stack([f.pixels for f in v.frames]) for v in videos] or None,
                video_metadata=[
                    VideoMetadata(
                        total_num_frames=len(v.frames), fps=f, frames_indices=list(range(len(v.frames)))
                    )
                    for v, f in zip(videos, fps, strict=True)
                ],
            )
        )

    return prompt


@pytest.fixture
def with_template() -> Callable[..., QwenVLRenderer]:
    """A renderer like another one, with another chat template or another chat format."""
    import copy

    def change(renderer: QwenVLRenderer, *, template: str | None = None, **changes: Any) -> QwenVLRenderer:
        tokenizer = copy.deepcopy(renderer.tokenizer)
        tokenizer.chat_template = template or tokenizer.chat_template
        chat_format = renderer.chat_format.model_copy(update=changes)
        vision = with_format(renderer.vision, chat_format)
        return QwenVLRenderer(tokenizer, renderer.family, vision, chat_format)

    return change
