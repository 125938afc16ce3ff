"""Renderers of the Qwen-VL families: the only code that knows their special tokens.

A conversation is rendered once, piece by piece, and never again: the prompt through the checkpoint's own
chat template, and each operation's result through the text the template puts around a later message.
All families write `<|vision_start|>placeholder<|vision_end|>` around an image; they differ in how a video
is written, in how pixels become numbers, and in what the numbers of a box mean.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from pixelreasoner.chat.chat_format import ChatFormat
from pixelreasoner.chat.layout import Layout, VisualBlock, expand
from pixelreasoner.chat.parsing import parse_message
from pixelreasoner.chat.pixels import Normalization, fit, resized
from pixelreasoner.chat.renderer import ToolSchema
from pixelreasoner.chat.tokens import Piece, Slots, TextCodec
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.geometry import Size, Unit
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.messages import Parsed
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment

START, END, STOP = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
IMAGE, VIDEO = VISION_START + IMAGE_PAD + VISION_END, VISION_START + VIDEO_PAD + VISION_END


class QwenVLRenderer(ABC):
    """What the families share."""

    default_unit: ClassVar[Unit]
    """What the numbers of a box mean where the chat_format does not say."""
    default_normalization: ClassVar[Normalization]
    """Where the checkpoint does not say."""
    processor_types: ClassVar[tuple[str, str]]
    """What transformers calls the family's processor and its video processor."""

    def __init__(
        self,
        tokenizer: Any,
        chat_format: ChatFormat,
        *,
        patch: int,
        merge: int,
        temporal_patch: int,
        normalization: Normalization | None = None,
    ) -> None:
        """A renderer.

        Args:
            tokenizer: the checkpoint's, a fast one, with its chat template.
            chat_format: wording and pixel budgets.
            patch: side of a patch in pixels.
            merge: patches along one side of a language-model token.
            temporal_patch: frames that one token of a video spans.
            normalization: how the vision tower reads colours; None takes the family's.

        Raises:
            CheckpointError: the tokenizer is not one of a Qwen-VL checkpoint.
        """
        if tokenizer.chat_template is None:
            raise CheckpointError(
                "the tokenizer has no chat template; save one as chat_template.jinja beside it"
            )
        self.tokenizer = tokenizer
        self.chat_format = chat_format
        self.unit = chat_format.unit or self.default_unit
        self.patch, self.merge, self.temporal_patch = patch, merge, temporal_patch
        self.normalization = normalization or self.default_normalization
        self.codec = TextCodec(tokenizer)
        ids = self.codec.control_id
        self.image_id, self.video_id, self._end_id = ids(IMAGE_PAD), ids(VIDEO_PAD), ids(END)
        self.stop_ids = frozenset({self._end_id, ids(STOP)})
        brackets = {ids(VISION_START), ids(VISION_END), ids(START)}
        self.forbidden_ids = frozenset({self.image_id, self.video_id}) | brackets

    @classmethod
    def load(cls, folder: Path, tokenizer: Any, vision: Any) -> Self:
        """The renderer of a checkpoint folder, whose config has `vision` as its vision part.

        Raises:
            CheckpointError: the chat_format, the tokenizer or the processor file cannot be used.
        """
        return cls(
            tokenizer,
            ChatFormat.load(folder),
            patch=vision.patch_size,
            merge=vision.spatial_merge_size,
            temporal_patch=vision.temporal_patch_size,
            normalization=Normalization.load(folder, cls.default_normalization),
            **cls._family_options(vision),
        )

    @classmethod
    def _family_options(cls, vision: Any) -> dict[str, Any]:
        return {}

    @property
    def factor(self) -> int:
        """Side of one language-model token in pixels."""
        return self.patch * self.merge

    # Writing

    def prompt(self, task: Task, tools: Sequence[ToolSchema]) -> Segment:
        """System message with the tools, the task's media, the question and the guideline.

        Raises:
            CheckpointError: the chat template leaves out media, or writes them in an unknown way.
        """
        slots = Slots(self.codec)
        guideline = self.chat_format.guideline if tools else self.chat_format.guideline_without_tools
        content = [{"type": "image" if isinstance(m, Picture) else "video"} for m in task.media]
        content.append({"type": "text", "text": slots.hold(task.question + guideline)})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if system := self._system(tools):
            messages.insert(0, {"role": "system", "content": slots.hold(system)})
        markup = self._template(messages, tools=slots.guard(tools) or None, add_generation_prompt=True)
        videos = [m for m in task.media if isinstance(m, Video)]
        before, *parts = markup.split(VIDEO)
        if len(parts) != len(videos) or markup.count(IMAGE) != len(task.media) - len(videos):
            raise CheckpointError(
                f"the chat template does not write {IMAGE} or {VIDEO} once for each image or video"
            )
        pieces = slots.fill(before)
        for video, part in zip(videos, parts, strict=True):
            pieces += [*self._video_pieces(video), *slots.fill(part)]
        return Segment(self.codec.encode(pieces), task.media)

    def _template(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        return self.tokenizer.apply_chat_template(list(messages), tokenize=False, **options)

    def _system(self, tools: Sequence[ToolSchema]) -> str:
        """The system message; with the tools in it when the chat template would leave them out."""
        if not tools or self._template_lists_tools:
            return self.chat_format.system
        listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        return (self.chat_format.system + self.chat_format.tools.replace("{tools}", listed)).lstrip()

    @cached_property
    def _template_lists_tools(self) -> bool:
        """Whether the chat template writes the tools down; that of Qwen2.5-VL silently drops them."""
        parameters = {"type": "object", "properties": {}, "required": []}
        function = {"name": "probed_tool", "description": "", "parameters": parameters}
        probe = [{"type": "function", "function": function}]
        return "probed_tool" in self._template([{"role": "user", "content": "q"}], tools=probe)

    @abstractmethod
    def _video_pieces(self, video: Video) -> list[Piece]:
        """What stands in the place of a video."""

    def observation(self, observation: Observation) -> Segment:
        """The result as a message of its own, and the opening of the model's next message."""
        before, after = self._around_observation
        images = self.codec.pieces(IMAGE) * len(observation.images)
        return Segment(self.codec.encode([*before, observation.text, *images, *after]), observation.images)

    @cached_property
    def _around_observation(self) -> tuple[list[Piece], list[Piece]]:
        """What the chat template puts before and after a message that follows the model's own.

        Found by rendering a conversation with and without it, so that every template is served by one
        rule; the model's message ends with its sampled stop token, which is not part of the text.
        """
        role = self.chat_format.observation_role
        head = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
        short = self._template(head)
        slot = Slots(self.codec).hold("")
        full = self._template([*head, {"role": role, "content": slot}], add_generation_prompt=True)
        stop = short.rfind(END) + len(END)
        before, found, after = full[stop:].partition(slot)
        if END not in short or full[:stop] != short[:stop] or not found:
            raise CheckpointError(
                f"the chat template rewrites earlier messages when a '{role}' message follows; "
                "set observation_role in chat_format.json to the other role"
            )
        return self.codec.pieces(before), self.codec.pieces(after)

    def encode(self, text: str) -> tuple[int, ...]:
        return self.codec.encode([text, self._end_id])

    # Reading

    def decode(self, ids: Sequence[int]) -> str:
        return self.codec.decode([i for i in ids if i not in self.stop_ids])

    def parse(self, text: str) -> Parsed:
        return parse_message(text)

    # Seeing

    def view(self, picture: Picture, *, crop: bool) -> Size:
        return fit(
            picture.size, self.chat_format.crop if crop else self.chat_format.image, factor=self.factor
        )

    def layout(self, segments: Sequence[Segment]) -> Layout:
        """The whole conversation as one row: placeholders expanded, positions numbered."""
        ids: list[int] = []
        blocks: list[VisualBlock] = []
        for index, segment in enumerate(segments):
            ids += segment.ids
            for media in segment.media:
                blocks += self.blocks(media, crop=index > 0)
        return expand(tuple(ids), tuple(blocks), frozenset({self.image_id, self.video_id}), self.merge)

    def blocks(self, media: Media, *, crop: bool) -> list[VisualBlock]:
        """The media item at its final size, one block for each of its placeholders."""
        if isinstance(media, Picture):
            return [self._block("image", [media], self.view(media, crop=crop))]
        return self._video_blocks(media, fit(media.size, self.chat_format.video_frame, factor=self.factor))

    @abstractmethod
    def _video_blocks(self, video: Video, size: Size) -> list[VisualBlock]:
        """The blocks of a video whose frames are shown at `size`."""

    def _block(
        self,
        kind: Literal["image", "video"],
        frames: Sequence[Picture],
        size: Size,
        *,
        time_step: float = 1.0,
    ) -> VisualBlock:
        """An image, or a run of frames; the last frame is repeated to fill its temporal patch."""
        if kind == "video":
            frames = [*frames, *[frames[-1]] * (-len(frames) % self.temporal_patch)]
        shown = [resized(frame, size) for frame in frames]
        time = max(1, len(frames) // self.temporal_patch)
        grid = (time, size.height // self.patch, size.width // self.patch)
        return VisualBlock(
            key=f"{kind}:{'+'.join(frame.digest for frame in frames)}:{size.width}x{size.height}",
            kind=kind,
            frames=shown[0][None] if len(shown) == 1 else np.stack(shown),
            grid_thw=grid,
            n_tokens=grid[0] * grid[1] * grid[2] // self.merge**2,
            time_step=time_step,
        )


class Qwen3VLRenderer(QwenVLRenderer):
    """Qwen3-VL: boxes in thousandths, and a video as one block per pair of frames, each with its marker."""

    default_unit = Unit.RELATIVE
    default_normalization = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    processor_types = ("Qwen3VLProcessor", "Qwen3VLVideoProcessor")

    def _video_pieces(self, video: Video) -> list[Piece]:
        """Each temporal patch after its marker; its time is half-way between its first and last frame."""
        step, times = self.temporal_patch, video.times_s
        outer = self.chat_format.video_brackets
        out = self.codec.pieces(VISION_START) if outer else []
        for first in range(0, len(times), step):
            last = min(first + step, len(times)) - 1
            seconds = (times[first] + times[last]) / 2
            marker = self.chat_format.frame_marker.format(first=first + 1, last=last + 1, seconds=seconds)
            out += [marker, *self.codec.pieces(VIDEO)]
        return [*out, *self.codec.pieces(VISION_END)] if outer else out

    def _video_blocks(self, video: Video, size: Size) -> list[VisualBlock]:
        step = self.temporal_patch
        pairs = (video.frames[at : at + step] for at in range(0, len(video.frames), step))
        return [self._block("video", pair, size) for pair in pairs]
