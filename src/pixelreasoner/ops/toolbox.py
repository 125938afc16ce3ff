"""The operations a model is offered, and the one place where its mistakes become observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from pixelreasoner.core.errors import ConfigError, ErrorClass, OperationError
from pixelreasoner.core.messages import ToolCall
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.ops.operation import Operation, ToolSchema, check_template


@dataclass(frozen=True)
class Toolbox:
    """Operations by name. Immutable: `add` gives a larger one.

    `ops.build` makes one from a recipe.
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
            message = f"there is no operation of that name; {known}"
            return self.reject(message, ErrorClass.UNKNOWN_OPERATION)
        # The type promises a mapping, but the value was written by a model.
        if not isinstance(cast(object, call.arguments), Mapping):
            message = "the arguments must be an object with names and values"
            return self.reject(message, ErrorClass.ARGUMENTS)
        try:
            return operation(call.arguments, context)
        except OperationError as e:
            return self.reject(str(e), e.error_class)

    def reject(self, message: str, error_class: ErrorClass = ErrorClass.UNREADABLE) -> Observation:
        """The observation for a call that failed, or could not even be read; `message` is for the model."""
        return Observation(self.error_reply.format(error=message), valid=False, error_class=error_class)
