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

from pixelreasoner.core.display import HTML

if TYPE_CHECKING:
    from pixelreasoner.api import Chat, Reasoner, load
    from pixelreasoner.core.errors import PixelReasonerError
    from pixelreasoner.core.geometry import Box, Size, Unit
    from pixelreasoner.core.media import Picture, Video
    from pixelreasoner.core.task import Cue, Task
    from pixelreasoner.core.trajectory import Trajectory, Turn
    from pixelreasoner.tasks.samples import sample
    from pixelreasoner.viewer.save import save

__version__ = "0.1.0"

__all__ = [
    "Box",
    "Chat",
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
    "sample",
    "save",
]

_HOME = {
    "Chat": "api",
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
    "sample": "tasks.samples",
    "save": "viewer.save",
}


def _drawn_by(function: str) -> Any:
    """A function of `viewer.notebook`, imported when a notebook first shows a record."""
    return lambda record: vars(import_module("pixelreasoner.viewer.notebook"))[function](record)


HTML.update(
    Trajectory=_drawn_by("trajectory_html"), Picture=_drawn_by("media_html"), Video=_drawn_by("media_html")
)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pixelreasoner' has no attribute '{name}'")
    return vars(import_module(f"pixelreasoner.{_HOME[name]}"))[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
