"""How long one rollout may be."""

from __future__ import annotations

from pydantic import Field

from pixelreasoner.core.config import Config


class Limits(Config):
    """The defaults of images, operations and tokens are those of the authors' released code."""

    max_turns: int = Field(default=8, ge=1)
    """Model messages. The last one may only answer: an operation it asks for is not carried out."""
    max_operations: int = Field(default=4, ge=0)
    """Operations carried out. Broken calls are not counted; they cost a turn."""
    max_images: int = Field(default=16, ge=1)
    """Images in the conversation: the question's and those that operations return; the frames of a video
    that the prompt shows are not counted."""
    max_tokens: int = Field(default=12 * 1024, ge=1)
    """Tokens after the prompt, sampled and observed; each image counts as one."""
