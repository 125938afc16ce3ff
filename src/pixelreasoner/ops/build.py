"""The operations a recipe offers, as one toolbox in the words and units of a model.

::

    [[interaction.operations]]
    use = "crop_image"                          # a registered operation
    name = "crop_image_normalized"              # what the model calls it
    options = { min_side_px = 28 }

    [[interaction.operations]]
    use = "my_package.operations:MirrorImage"   # one of your own (`ops.operation.Operation`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from pydantic import Field

from pixelreasoner.core.config import Config, Options
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.geometry import Unit
from pixelreasoner.core.registry import Registry, check_call
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.ops.crop import CropImage
from pixelreasoner.ops.crop_normalized import CropImageNormalized
from pixelreasoner.ops.frames import SelectFrames
from pixelreasoner.ops.image_context import ImageContext
from pixelreasoner.ops.operation import Operation, ToolSchema, function_schema
from pixelreasoner.ops.toolbox import Toolbox

OPERATIONS = Registry(
    "operation",
    {
        "crop_image": "pixelreasoner.ops.crop:CropImage",
        "crop_image_normalized": "pixelreasoner.ops.crop_normalized:CropImageNormalized",
        "select_frames": "pixelreasoner.ops.frames:SelectFrames",
    },
)


class OperationConfig(Config):
    """One operation of a recipe."""

    use: str
    """A registered operation, or package.module:object: a class, or an operation ready to use."""
    name: str | None = None
    """What the model calls it; None keeps its own name."""
    description: str | None = None
    """How it is described to the model; None keeps its own description."""
    parameters: Options | None = None
    """How its arguments are described to the model, name by name as JSON Schema; None keeps its own."""
    options: Options = Field(default_factory=dict)
    """Further arguments of its class."""


PAPER = (OperationConfig(use="crop_image"), OperationConfig(use="select_frames"))
"""The operations of the paper (appendix C.1)."""


class Replies(NamedTuple):
    """What the built-in operations say; the fields of each are those of `chat.chat_format.ChatFormat`."""

    crop: str
    frames: str
    error: str


def build_toolbox(
    operations: Sequence[OperationConfig | Operation], *, unit: Unit, replies: Replies
) -> Toolbox:
    """The toolbox of a recipe, or of a program that has operations ready to use.

    Args:
        operations: which ones, in the order in which they are described.
        unit: what the numbers of a box mean to the model.
        replies: the wording of results.

    Raises:
        ConfigError: there is no such operation, it does not take its options, a name is taken twice, or a
            reply names a field there is not.
    """
    return Toolbox(tuple(_operation(config, unit, replies) for config in operations), replies.error)


def _operation(config: OperationConfig | Operation, unit: Unit, replies: Replies) -> Operation:
    if not isinstance(config, OperationConfig):
        _check_operation(config.__name__ if isinstance(config, type) else type(config).__name__, config)
        return config
    found: Any = OPERATIONS.find(config.use)
    named = {"name": config.name, "description": config.description}
    options: dict[str, Any] = config.options | {k: v for k, v in named.items() if v is not None}
    built_in: dict[Any, dict[str, Any]] = {
        CropImage: {"unit": unit, "reply": replies.crop},
        CropImageNormalized: {"reply": replies.crop},
        SelectFrames: {"reply": replies.frames},
    }
    if isinstance(found, type):
        options = built_in.get(found, {}) | options
    if isinstance(found, type) or options:
        check_call(f"operation '{config.use}'", found, **options)
        found = found(**options)
    _check_operation(config.use, found)
    operation = cast(Operation, found)
    return operation if config.parameters is None else _Described(operation, config.parameters)


def undescribed(operation: Operation) -> Operation:
    """An operation itself, where a recipe put words of its own around it."""
    return operation.operation if isinstance(operation, _Described) else operation


@dataclass(frozen=True)
class _Described:
    """An operation whose arguments are described in the words of a recipe."""

    operation: Operation
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.operation.name

    @property
    def schema(self) -> ToolSchema:
        own = self.operation.schema["function"]
        return function_schema(own["name"], own.get("description", ""), self.parameters)

    def __call__(self, arguments: Mapping[str, Any], context: ImageContext) -> Observation:
        return self.operation(arguments, context)


def _check_operation(use: str, made: Any) -> None:
    if isinstance(made, type):
        raise ConfigError(f"'{use}' is a class, and no operation yet: give {use}(...)")
    schema: Any = getattr(made, "schema", None)
    if not isinstance(getattr(made, "name", None), str) or not callable(made):
        raise ConfigError(
            f"'{use}' is no operation: it needs a name, a schema, and a call with (arguments, context)"
        )
    if not isinstance(schema, Mapping) or "function" not in schema:
        raise ConfigError(
            f"operation '{use}': its schema is {schema!r}; "
            f"make one with pixelreasoner.ops.operation.function_schema"
        )
