"""How long one rollout may be."""

from __future__ import annotations

from pixelreasoner.core.config import Config, Count, CountOrZero
from pixelreasoner.core.errors import ConfigError


class Limits(Config):
    """The defaults of images and operations are those of the authors' released code."""

    max_turns: Count = 8
    """Model messages. The last one may only answer: an operation it asks for is not carried out."""
    max_operations: CountOrZero = 4
    """Operations carried out. Broken calls are not counted; they cost a turn."""
    max_images: Count = 16
    """Images in the conversation: the question's and those that operations return; the frames of a video
    that the prompt shows are not counted."""
    max_tokens: Count | None = None
    """Tokens of the whole conversation as the model reads it: prompt, messages and results, each image or
    video with all the tokens it takes. None: as many as the model has positions for."""

    def allows_operation(self, n_messages: int, n_operations: int) -> bool:
        """Whether the last of so many messages may have its operation carried out, after so many others."""
        return n_messages < self.max_turns and n_operations < self.max_operations

    def conversation_tokens(self, positions: int | None) -> int | None:
        """The most tokens of a conversation with a model of so many positions (None: not known).

        Raises:
            ConfigError: the limit is above what the model can read.
        """
        if self.max_tokens is None or positions is None or self.max_tokens <= positions:
            return self.max_tokens or positions
        raise ConfigError(
            f"interaction.limits.max_tokens = {self.max_tokens} is more than the model can read: its "
            f"config.json gives it {positions} positions (max_position_embeddings); set max_tokens to "
            f"{positions} or less, or leave it out"
        )
