"""select_frames: a closer look at some frames of a video (paper, appendix C.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import Field

from pixelreasoner.core.errors import ErrorClass, OperationError
from pixelreasoner.core.media import Video
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.ops.operation import (
    ToolSchema,
    check_index,
    check_names,
    check_template,
    function_schema,
    json_kind,
)

MAX_FRAMES = 8
"""How many frames one call may ask for (paper, appendix C.1)."""

_ARGUMENTS = ("target_frames",)


@dataclass(frozen=True)
class SelectFrames:
    """Shows frames of the conversation's video as images, in the order asked for, at their original size."""

    reply: str
    """The line before the frames. Fields: first, last (the numbers the images get), frames (1-based numbers
    of the frames, separated by commas), shown_width, shown_height (their pixels as shown)."""
    max_frames: Annotated[int, Field(ge=1, le=10_000)] = MAX_FRAMES
    """The most frames one call may ask for."""
    name: str = "select_frames"
    description: str = "Show some frames of the video as images, at a higher resolution."

    def __post_init__(self) -> None:
        fields = {"first": 1, "last": 2, "frames": "3, 4", "shown_width": 8, "shown_height": 8}
        check_template(self.reply, "the reply to a selection of frames", **fields)

    @property
    def schema(self) -> ToolSchema:
        return function_schema(
            self.name,
            self.description,
            {
                "target_frames": {
                    "type": "array",
                    "items": {"type": "integer"},
                    "minItems": 1,
                    "maxItems": self.max_frames,
                    "description": f"The numbers of the frames, at most {self.max_frames}; 1 is the first.",
                },
            },
        )

    def __call__(self, arguments: Mapping[str, Any], context: ImageContext) -> Observation:
        """The selected frames as images, with their numbers in `frames`.

        Raises:
            OperationError: there is no video, no such frame, or too many are asked for.
        """
        check_names(arguments, _ARGUMENTS)
        if context.video is None:
            raise OperationError("there is no video to select frames from", ErrorClass.TARGET)
        frames = self._read_frames(arguments["target_frames"], context.video)
        first = len(context.images) + 1
        images = tuple(context.video.frames[i - 1] for i in frames)
        shown = context.shown_size(images[0])
        text = self.reply.format(
            first=first, last=first + len(frames) - 1, frames=", ".join(map(str, frames)),
            shown_width=shown.width, shown_height=shown.height,
        )  # fmt: skip
        return Observation(text, images=images, frames=frames)

    def _read_frames(self, value: object, video: Video) -> tuple[int, ...]:
        count = len(video.frames)
        if not isinstance(value, (list, tuple)):
            raise OperationError(
                f"target_frames must be a list of frame numbers, not {json_kind(value)}", ErrorClass.ARGUMENTS
            )
        numbers = cast(list[object], value)
        if not numbers:
            raise OperationError(
                f"target_frames is empty; give up to {self.max_frames} numbers from 1 to {count}",
                ErrorClass.ARGUMENTS,
            )
        if len(numbers) > self.max_frames:
            raise OperationError(
                f"at most {self.max_frames} frames can be selected, not {len(numbers)}", ErrorClass.ARGUMENTS
            )
        frames = tuple(check_index(n, "each of target_frames", count) for n in numbers)
        if len(set(frames)) < len(frames):
            raise OperationError(
                "target_frames names a frame twice; name each frame once", ErrorClass.ARGUMENTS
            )
        return frames
