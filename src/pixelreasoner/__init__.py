"""Vision-language models that reason in pixel space.

::

    import pixelreasoner as pr

    reasoner = pr.load("nano")
    trajectory = reasoner.ask("photo.jpg", "Which letter is on the red card?")
    trajectory.answer, trajectory.turns
    pr.save(trajectory, "trace.html")

Names are imported when they are first used, so that `import pixelreasoner` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixelreasoner.api import Reasoner, load
    from pixelreasoner.core.errors import PixelReasonerError
    from pixelreasoner.core.geometry import Box, Size, Unit
    from pixelreasoner.core.media import Picture, Video
    from pixelreasoner.core.task import Cue, Task
    from pixelreasoner.core.trajectory import Trajectory, Turn
    from pixelreasoner.viewer.save import save

__version__ = "0.1.0"

__all__ = [
    "Box",
    "Cue",
    "Picture",
    "PixelReasonerError",
    "Reasoner",
    "Size",
    "Task",
    "Trajectory",
    "Turn",
    "Unit",
    "Video",
    "load",
    "save",
]

_HOME = {
    "Reasoner": "api",
    "load": "api",
    "PixelReasonerError": "core.errors",
    "Box": "core.geometry",
    "Size": "core.geometry",
    "Unit": "core.geometry",
    "Picture": "core.media",
    "Video": "core.media",
    "Cue": "core.task",
    "Task": "core.task",
    "Trajectory": "core.trajectory",
    "Turn": "core.trajectory",
    "save": "viewer.save",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pixelreasoner' has no attribute '{name}'")
    return vars(import_module(f"pixelreasoner.{_HOME[name]}"))[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
