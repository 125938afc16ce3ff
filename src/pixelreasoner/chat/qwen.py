"""Renderers of the Qwen-VL families: the only code that knows their special tokens.

A conversation is rendered once, piece by piece, and never again: the prompt through the checkpoint's own
chat template, and each operation's result through the text the template puts around a later message.
Both families write `<|vision_start|>placeholder<|vision_end|>` around an image; they differ in how a
video is written and in what the numbers of a box mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from pixelreasoner.chat.dialect import Dialect
from pixelreasoner.chat.layout import Layout, VisualBlock, expand
from pixelreasoner.chat.parsing import parse_message
from pixelreasoner.chat.pixels import fit, resized
from pixelreasoner.chat.renderer import ToolSchema
from pixelreasoner.core.errors import CheckpointError
from pixelreasoner.core.geometry import Size, Unit
from pixelreasoner.core.media import Media, Picture, Video
from pixelreasoner.core.messages import Parsed
from pixelreasoner.core.task import Task
from pixelreasoner.core.trajectory import Observation, Segment

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"
SLOT = "\u241f"
"""A character no template writes, to find where content goes."""


class Qwen3VLRenderer:
    """Qwen3-VL: boxes in thousandths, and a video as one block per pair of frames, each with its marker."""

    default_unit: ClassVar[Unit] = Unit.PERMILLE

    def __init__(
        self, tokenizer: Any, dialect: Dialect, *, patch: int, merge: int, temporal_patch: int
    ) -> None:
        self.tokenizer = tokenizer
        self.dialect = dialect
        self.unit = dialect.unit or self.default_unit
        self.patch, self.merge, self.temporal_patch = patch, merge, temporal_patch
        self.image_id, self.video_id = self._id("<|image_pad|>"), self._id("<|video_pad|>")
        self.stop_ids = frozenset({self._id("<|im_end|>"), self._id("<|endoftext|>")})
        brackets = {self._id("<|vision_start|>"), self._id("<|vision_end|>"), self._id("<|im_start|>")}
        self.forbidden_ids = frozenset({self.image_id, self.video_id}) | brackets

    def _id(self, token: str) -> int:
        found = self.tokenizer.convert_tokens_to_ids(token)
        if found is None or found == self.tokenizer.unk_token_id:
            raise CheckpointError(f"the tokenizer has no {token}; is this a Qwen-VL checkpoint?")
        return int(found)

    @property
    def factor(self) -> int:
        """Side of one language-model token in pixels."""
        return self.patch * self.merge

    # Writing

    def prompt(self, task: Task, tools: Sequence[ToolSchema]) -> Segment:
        """System message with the tools, the task's media, the question and the guideline."""
        guideline = self.dialect.guideline if tools else self.dialect.guideline_without_tools
        content = [{"type": "image" if isinstance(m, Picture) else "video"} for m in task.media]
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": [*content, {"type": "text", "text": task.question + guideline}]}
        ]
        if self.dialect.system:
            messages.insert(0, {"role": "system", "content": self.dialect.system})
        text = self.tokenizer.apply_chat_template(
            messages, tools=list(tools) or None, add_generation_prompt=True, tokenize=False
        )
        for media in task.media:
            if isinstance(media, Video):
                text = text.replace(VIDEO, self._video_text(media).replace("video_pad", SLOT), 1)
        return Segment(self._tokens(text.replace(SLOT, "video_pad")), task.media)

    def _video_text(self, video: Video) -> str:
        """One marked block per temporal patch."""
        n, step = len(video.frames), self.temporal_patch
        out = []
        for first in range(0, n, step):
            last = min(first + step, n) - 1
            seconds = (video.times_s[first] + video.times_s[last]) / 2
            out.append(self.dialect.frame_marker.format(first=first + 1, last=last + 1, seconds=seconds) + VIDEO)
        return "".join(out)

    def observation(self, observation: Observation) -> Segment:
        """The result as a message of its own, and the opening of the model's next message."""
        before, after = self._around_observation
        text = before + observation.text + IMAGE * len(observation.images) + after
        return Segment(self._tokens(text), observation.images)

    @cached_property
    def _around_observation(self) -> tuple[str, str]:
        """What the chat template puts before and after a message that follows the model's own.

        Found by rendering a conversation with and without it, so that every template is served by one
        rule; the model's message ends with its sampled stop token, which is not part of the text.
        """
        role = self.dialect.observation_role
        head: list[dict[str, str]] = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
        short = self.tokenizer.apply_chat_template(head, tokenize=False)
        full = self.tokenizer.apply_chat_template(
            [*head, {"role": role, "content": SLOT}], add_generation_prompt=True, tokenize=False
        )
        stop = short.rindex("<|im_end|>") + len("<|im_end|>")
        if full[:stop] != short[:stop] or SLOT not in full:
            raise CheckpointError(
                f"the chat template rewrites earlier messages when a '{role}' message follows; "
                "set observation_role in dialect.json to the other role"
            )
        before, after = full[stop:].split(SLOT)
        return before, after

    def encode(self, text: str) -> tuple[int, ...]:
        return (*self._tokens(text), self._id("<|im_end|>"))

    def _tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    # Reading

    def decode(self, ids: Sequence[int]) -> str:
        kept = [i for i in ids if i not in self.stop_ids]
        return self.tokenizer.decode(kept, skip_special_tokens=False)

    def parse(self, text: str) -> Parsed:
        return parse_message(text)

    # Seeing

    def view(self, picture: Picture, *, crop: bool) -> Size:
        return fit(picture.size, self.dialect.crop if crop else self.dialect.image, factor=self.factor)

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
        """The media item at its final size: one block for an image, one per temporal patch for a video."""
        if isinstance(media, Picture):
            size = self.view(media, crop=crop)
            return [self._block("image", media.digest, [resized(media, size)], size)]
        size = fit(media.size, self.dialect.video_frame, factor=self.factor)
        out = []
        for first in range(0, len(media.frames), self.temporal_patch):
            pair = [*media.frames[first : first + self.temporal_patch]]
            pair += [pair[-1]] * (self.temporal_patch - len(pair))
            key = "+".join(f.digest for f in pair)
            out.append(self._block("video", key, [resized(f, size) for f in pair], size))
        return out

    def _block(self, kind: Any, digest: str, frames: Sequence[Any], size: Size) -> VisualBlock:
        grid = (1, size.height // self.patch, size.width // self.patch)
        n_tokens = grid[1] * grid[2] // self.merge**2
        key = f"{kind}:{digest}:{size.width}x{size.height}"
        return VisualBlock(key, kind, np.stack(frames), grid, n_tokens)


def write_call(name: str, arguments: dict[str, Any]) -> str:
    """A tool call the way the Qwen families write it."""
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{body}\n</tool_call>"
