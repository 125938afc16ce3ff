"""The errors a user can meet.

Three kinds of fault are kept apart everywhere in this project:

* a **user's** mistake is a `PixelReasonerError` whose message names the thing and the remedy;
* a **model's** mistake is an `OperationError`, which `ops.toolbox.Toolbox` turns into an observation the
  model can read; it never leaves a rollout;
* a **bug** is any other exception, and propagates.
"""

from __future__ import annotations

from enum import StrEnum


class PixelReasonerError(ValueError):
    """Something the user can put right; the message says what and how."""


class MediaError(PixelReasonerError):
    """An image or a video that cannot be used (missing, corrupt, empty, too large).

    Names of files and texts of decoders may hold anything: control characters become spaces, so that the
    message is one line and nothing of it reaches a terminal as a command.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else " " for c in message))


class ConfigError(PixelReasonerError):
    """A recipe or an override that cannot be used."""


class RecordError(PixelReasonerError):
    """A trajectory or task file that cannot be read."""


class CheckpointError(PixelReasonerError):
    """A model checkpoint or a training state that cannot be loaded."""


class NonFiniteError(PixelReasonerError):
    """A loss, a gradient norm, a weight or a model's score is NaN or infinite."""


class MissingExtraError(PixelReasonerError):
    """An optional dependency that is needed now and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'pixelreasoner[{extra}]'"
        )


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), as Ctrl-C asks it."""


class ErrorClass(StrEnum):
    """Why a call of a model's could not be carried out; what invalid operations are counted by."""

    UNREADABLE = "unreadable"
    """The text between the tags is no call: broken JSON, a missing tag, a name that is no text."""
    UNKNOWN_OPERATION = "unknown_operation"
    """No operation of that name was offered."""
    ARGUMENTS = "arguments"
    """An argument is missing, unknown, or of the wrong type or length."""
    TARGET = "target"
    """The image, the video or the frame that is named does not exist."""
    REGION = "region"
    """The box is outside the image, has no area, or holds too few pixels."""
    OTHER = "other"
    """Any other reason that an operation gave."""


class OperationError(Exception):
    """The model asked for something impossible; the text is written for the model to read."""

    def __init__(self, message: str, error_class: ErrorClass = ErrorClass.OTHER) -> None:
        super().__init__(message)
        self.error_class = error_class
