"""What a visual operation is, and the checks that operations share.

An operation's arguments were written by a model, so anything can stand in them. Messages about them are
written to be read by a (small) model: what was wrong, and the valid range. They never repeat the model's own
text, which could carry control tokens back into its context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pixelreasoner.core.errors import ConfigError, ErrorClass, OperationError
from pixelreasoner.core.trajectory import Observation
from pixelreasoner.ops.image_context import ImageContext

ToolSchema = dict[str, Any]
"""A function description in the form of OpenAI's tools, which chat templates take."""


class Operation(Protocol):
    """Anything a model can call by name; pass your own to `Toolbox.add`.

    Example::

        @dataclass(frozen=True)
        class FlipImage:
            name: str = "flip_image"

            @property
            def schema(self) -> ToolSchema:
                return function_schema(self.name, "Mirror an image.", {
                    "target_image": {"type": "integer", "description": "Number of the image, from 1."},
                })

            def __call__(self, arguments: Mapping[str, Any], context: ImageContext) -> Observation:
                check_names(arguments, ("target_image",))
                i = check_index(arguments["target_image"], "target_image", len(context.images))
                mirrored = Picture(np.ascontiguousarray(context.images[i - 1].picture.pixels[:, ::-1]))
                return Observation("The mirrored image:", images=(mirrored,), source=i)
    """

    @property
    def name(self) -> str:
        """What the model calls it; unique in a toolbox."""
        ...

    @property
    def schema(self) -> ToolSchema:
        """How it is described to the model."""
        ...

    def __call__(self, arguments: Mapping[str, Any], context: ImageContext) -> Observation:
        """Carries the operation out.

        Raises:
            OperationError: the model asked for something impossible; the text is for the model, the error
                class for the statistics. Any other exception counts as a bug and ends the rollout.
        """
        ...


def function_schema(name: str, description: str, parameters: Mapping[str, Mapping[str, Any]]) -> ToolSchema:
    """The schema of an operation whose `parameters` (name to JSON schema) are all required."""
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {key: dict(value) for key, value in parameters.items()},
                "required": list(parameters),
            },
        },
    }


def check_names(arguments: Mapping[str, Any], expected: Sequence[str]) -> None:
    """Refuses arguments with other names than `expected`.

    Raises:
        OperationError: one is missing, or there are more.
    """
    missing = [name for name in expected if name not in arguments]
    if missing:
        raise OperationError(f"missing argument: {', '.join(missing)}", ErrorClass.ARGUMENTS)
    if len(arguments) > len(expected):
        raise OperationError(
            f"unknown argument; the arguments are: {', '.join(expected)}", ErrorClass.ARGUMENTS
        )


def check_index(value: object, name: str, count: int) -> int:
    """A 1-based index into `count` things; 2.0 is 2, as JSON does not tell them apart.

    Raises:
        OperationError: it is not a whole number from 1 to `count`.
    """
    if count < 1:
        raise OperationError(f"{name}: there is none to choose from", ErrorClass.TARGET)
    valid = f"must be a whole number from 1 to {count}" if count > 1 else "must be 1"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise OperationError(f"{name} {valid}, not {json_kind(value)}", ErrorClass.ARGUMENTS)
    if not 1 <= value <= count or value != int(value):
        raise OperationError(f"{name} {valid}, not {brief(value)}", ErrorClass.TARGET)
    return int(value)


def json_kind(value: object) -> str:
    """The JSON name of a value's type, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case _:
            return "an object"


def brief(value: float) -> str:
    """A number in a few characters, whatever its size."""
    # Comparing is exact for integers of any length; turning a very long one into text or a float is an error.
    if value != value or -1e6 < value < 1e6:
        return f"{value:.7g}"
    return "a huge number"


def check_template(template: str, what: str, **example: object) -> None:
    """Refuses a reply whose fields could not be filled in later, in the middle of a rollout.

    Raises:
        ConfigError: names the fields there are.
    """
    try:
        template.format(**example)
    except (LookupError, ValueError, AttributeError, TypeError) as e:
        raise ConfigError(
            f"{what} {template!r} is no usable template ({e}); its fields are: "
            + ", ".join("{" + name + "}" for name in example)
        ) from e
