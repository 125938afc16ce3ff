"""The paper's operations in words of a test's own."""

from pixelreasoner.core.geometry import Unit
from pixelreasoner.ops.build import PAPER, Replies, build_toolbox
from pixelreasoner.ops.toolbox import Toolbox


def standard_toolbox(*, unit: Unit, crop_reply: str, frames_reply: str, error_reply: str) -> Toolbox:
    return build_toolbox(PAPER, unit=unit, replies=Replies(crop_reply, frames_reply, error_reply))
