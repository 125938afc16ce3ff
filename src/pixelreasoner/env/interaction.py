"""The interaction with a model: the operations it is offered, its limits, how it is sampled, and the wording.

One configuration for `ask`, `synth`, `sft`, `rl`, `eval`: what is trained is what is evaluated and served.
"""

from __future__ import annotations

from collections.abc import Sequence

from pixelreasoner.chat.chat_format import ChatFormat, Wording
from pixelreasoner.core.config import Config
from pixelreasoner.core.geometry import Unit
from pixelreasoner.env.limits import Limits
from pixelreasoner.ops.build import PAPER, OperationConfig, Replies, build_toolbox
from pixelreasoner.ops.operation import Operation
from pixelreasoner.ops.toolbox import Toolbox
from pixelreasoner.policy.base import Sampling


class Interaction(Config):
    """The defaults are the paper's."""

    operations: tuple[OperationConfig, ...] = PAPER
    """Offered to the model; empty offers none."""
    limits: Limits = Limits()
    """How long a conversation may become."""
    sampling: Sampling = Sampling()
    """How the model's messages are sampled."""
    wording: Wording = Wording()
    """Words and pixel budgets in place of those that the checkpoint was saved with."""

    def check_lengths(self, positions: int | None) -> None:
        """Check both limits of tokens against a model of so many positions (None: not known).

        Raises:
            ConfigError: one of them is above what the model can read.
        """
        self.limits.conversation_tokens(positions)
        self.sampling.check_length(positions)

    def toolbox(self, unit: Unit, chat_format: ChatFormat) -> Toolbox | None:
        """The operations in the words of a chat format; None where there are none.

        Raises:
            ConfigError: an operation of the recipe cannot be used.
        """
        return toolbox_of(self.operations, unit, chat_format)


def toolbox_of(
    operations: Sequence[OperationConfig | Operation], unit: Unit, chat_format: ChatFormat
) -> Toolbox | None:
    """The given operations in the words of a chat format; None where there are none.

    Raises:
        ConfigError: one of them cannot be used.
    """
    if not operations:
        return None
    replies = Replies(chat_format.crop_reply, chat_format.frames_reply, chat_format.error_reply)
    learned = [_as_learned(operation, chat_format) for operation in operations]
    return build_toolbox(learned, unit=unit, replies=replies)


def _as_learned(
    operation: OperationConfig | Operation, chat_format: ChatFormat
) -> OperationConfig | Operation:
    """An operation that is only named, in the form that the checkpoint knows."""
    if isinstance(operation, OperationConfig) and operation == OperationConfig(use=operation.use):
        return chat_format.operations.get(operation.use, operation)
    return operation
