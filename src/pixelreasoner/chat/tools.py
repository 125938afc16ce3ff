"""The operations a model is offered, in its own unit and with its own wording."""

from __future__ import annotations

from pixelreasoner.chat.renderer import Renderer
from pixelreasoner.ops.toolbox import Toolbox, standard_toolbox


def toolbox_for(renderer: Renderer) -> Toolbox:
    """`crop_image` and `select_frames` as the renderer's model speaks of them."""
    d = renderer.chat_format
    return standard_toolbox(
        unit=renderer.unit, crop_reply=d.crop_reply, frames_reply=d.frames_reply, error_reply=d.error_reply
    )
