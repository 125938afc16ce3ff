"""Model families: everything that is fixed for all checkpoints of one, known from `config.json` alone.

To add a family like these, write one `Family` and enter it in `FAMILIES`. The boxes of Qwen2.5-VL are pixels
of the image as shown, those of Qwen3-VL and Qwen3.5 run from 0 to 1000.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from pixelreasoner.chat.chat_format import PixelBudget
from pixelreasoner.chat.hermes import HERMES
from pixelreasoner.chat.pixels import Normalization
from pixelreasoner.chat.videos import BLOCK_PER_PATCH, ONE_BLOCK, VideoLayout
from pixelreasoner.chat.xml_calls import XML_CALLS
from pixelreasoner.core.damage import damage_of
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.messages import Parsed, ToolCall


class CallSyntax(Protocol):
    """How a family writes a call of an operation."""

    open_tag: str
    """What a call begins with; a stream of text is held back from here on."""

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]] = ()) -> Parsed:
        """What a message says. Never raises: a broken call becomes `Parsed.call_error`.

        `tools` are the descriptions of what is offered; a syntax whose values are plain text reads their
        types there.
        """
        ...

    def format(self, call: ToolCall) -> str:
        """A call as the model writes it; `parse` reads it back unchanged."""
        ...


@dataclass(frozen=True)
class Family:
    """What the checkpoints of a family share."""

    model_type: str
    """In config.json."""
    unit: Unit
    """What the numbers of a box mean."""
    normalization: Normalization
    """How the vision tower reads colours, where the checkpoint does not say."""
    image: PixelBudget
    """Of a picture, where the checkpoint does not say."""
    video_frame: PixelBudget
    """Of a frame in a video, where the checkpoint does not say."""
    video: VideoLayout
    """How a video is written and laid out."""
    processors: tuple[str, str]
    """What transformers calls the family's processor and its video processor."""
    syntax: CallSyntax = HERMES
    observation_role: Literal["user", "tool"] = "user"
    """Who speaks an operation's result, where the checkpoint's chat format does not say."""
    other_media_tokens: tuple[str, ...] = ()
    """Control tokens beside those of images and videos that stand for media, in the family's vocabulary."""
    counts_all_frames: bool = False
    """Whether the pixels in the file of the video processor are those of all frames together."""
    token_side: int = 32
    """Side of one language-model token in pixels, where the checkpoint is not at hand."""


QWEN2_5_VL = Family(
    model_type="qwen2_5_vl",
    unit=Unit.PIXEL,
    # The statistics of CLIP's training images.
    normalization=Normalization((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    image=PixelBudget(min_pixels=4 * 28 * 28, max_pixels=16384 * 28 * 28),
    video_frame=PixelBudget(min_pixels=128 * 28 * 28, max_pixels=768 * 28 * 28),
    video=ONE_BLOCK,
    processors=("Qwen2_5_VLProcessor", "Qwen2VLVideoProcessor"),
    token_side=28,
)
QWEN3_VL = Family(
    model_type="qwen3_vl",
    unit=Unit.RELATIVE,
    normalization=Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    image=PixelBudget(min_pixels=64 * 32 * 32, max_pixels=16384 * 32 * 32),
    video_frame=PixelBudget(min_pixels=128 * 32 * 32, max_pixels=768 * 32 * 32),
    video=BLOCK_PER_PATCH,
    processors=("Qwen3VLProcessor", "Qwen3VLVideoProcessor"),
    counts_all_frames=True,
)
# Sees as Qwen3-VL does. Its chat template takes a message of the user for a new question, and then drops the
# thoughts before it.
QWEN3_5 = replace(
    QWEN3_VL,
    model_type="qwen3_5",
    syntax=XML_CALLS,
    observation_role="tool",
    other_media_tokens=(
        "<|vision_pad|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>", "<tts_pad>", "<tts_text_bos>",
        "<tts_text_bos_single>", "<tts_text_eod>",
    ),
)  # fmt: skip
FAMILIES = {family.model_type: family for family in (QWEN3_VL, QWEN2_5_VL, QWEN3_5)}


def family_of(folder: Path) -> Family:
    """The family of a checkpoint folder.

    Raises:
        CheckpointError: no config.json, or a model of another family.
    """
    found = read_config(folder).get("model_type")
    if found not in FAMILIES:
        raise CheckpointError(f"{folder} holds a '{found}' model; supported: {', '.join(FAMILIES)}")
    return FAMILIES[found]


def read_config(folder: Path) -> Mapping[str, Any]:
    """The config.json of a checkpoint folder.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    path = folder / "config.json"
    if not path.exists():
        raise CheckpointError(f"{folder} is not a checkpoint folder (no config.json)")
    return read_json(path)


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object from a file of a checkpoint.

    Raises:
        CheckpointError: the file cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as e:
        raise CheckpointError(f"{path} cannot be read: {e.strerror}") from e
    except (ValueError, RecursionError) as e:
        raise CheckpointError(f"{path} cannot be read ({damage_of(path)}: {e}); download it again") from e
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} cannot be read (it holds no JSON object); download it again")
    return found
