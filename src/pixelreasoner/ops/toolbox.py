"""The operations a model is offered, and the one place where its mistakes become observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from pixelreasoner.core.errors import ConfigError, OperationError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.ops.crop import MIN_SIDE_PX, CropImage
from pixelreasoner.ops.frames import MAX_FRAMES, SelectFrames
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.ops.operation import Operation, ToolSchema, check_template


@dataclass(frozen=True)
class Toolbox:
    """Operations by name. Immutable: `add` gives a larger one.

    Example: the standard operations and one of your own (`Operation` shows how to write it)::

        standard = standard_toolbox(unit=..., crop_reply=..., frames_reply=..., error_reply=...)
        toolbox = standard.add(FlipImage())
    """

    operations: tuple[Operation, ...]
    error_reply: str
    """What the model reads when a call fails. Fields: error."""

    def __post_init__(self) -> None:
        check_template(self.error_reply, "the reply to a failed call", error="no such image")
        names = self.names
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(f"two operations are called {sorted(twice)}; give one another name")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(operation.name for operation in self.operations)

    @property
    def schemas(self) -> list[ToolSchema]:
        """How the operations are described to the model, in order."""
        return [operation.schema for operation in self.operations]

    def add(self, *operations: Operation) -> Toolbox:
        """A toolbox with more operations.

        Raises:
            ConfigError: a name is taken.
        """
        return replace(self, operations=self.operations + operations)

    def execute(self, call: ToolCall, context: ImageContext) -> Observation:
        """What comes of a call, whatever the model put in it: a result, or an error the model can read.

        Only an `OperationError` counts as the model's mistake; any other exception of an operation is a bug
        in it, and propagates.
        """
        operation = next((o for o in self.operations if o.name == call.name), None)
        if operation is None:
            known = f"the operations are: {', '.join(self.names)}" if self.names else "there are none here"
            return self.reject(f"there is no operation of that name; {known}")
        # The type promises a mapping, but the value was written by a model.
        if not isinstance(cast(object, call.arguments), Mapping):
            return self.reject("the arguments must be an object with names and values")
        try:
            return operation(call.arguments, context)
        except OperationError as e:
            return self.reject(str(e))

    def reject(self, message: str) -> Observation:
        """The observation for a call that failed, or could not even be read; `message` is for the model."""
        return Observation(self.error_reply.format(error=message), valid=False)


def standard_toolbox(
    *,
    unit: Unit,
    crop_reply: str,
    frames_reply: str,
    error_reply: str,
    min_side_px: int = MIN_SIDE_PX,
    max_frames: int = MAX_FRAMES,
) -> Toolbox:
    """The operations of the paper: `crop_image` and `select_frames` (appendix C.1).

    `unit` is what the model's box coordinates mean; the replies are those of a `chat.ChatFormat`.

    Raises:
        ConfigError: a reply names a field there is not.
    """
    crop = CropImage(unit, crop_reply, min_side_px=min_side_px)
    frames = SelectFrames(frames_reply, max_frames=max_frames)
    return Toolbox((crop, frames), error_reply)
