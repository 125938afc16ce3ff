"""The things of a scene, with their exact positions."""

from __future__ import annotations

from dataclasses import dataclass

from pixelreasoner.core.geometry import Box
from pixelreasoner.core.media import Picture, Video

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (245, 140, 20),
    "yellow": (247, 220, 50),
    "green": (40, 160, 70),
    "blue": (40, 90, 215),
    "purple": (130, 50, 170),
    "white": (245, 245, 245),
    "black": (22, 22, 22),
}
DOT_COLOURS = ("red", "orange", "green", "blue", "purple", "black")
"""Colours that are distinct on a white board."""
LETTERS = tuple("ACEHJKLMSTXZ")
DIGITS = tuple("0123456789")
SIDES = ("left", "right", "above", "below")


@dataclass(frozen=True)
class Dot:
    """A small coloured disc on a board."""

    colour: str
    box: Box


@dataclass(frozen=True)
class Thing:
    """One object of a scene that a question can be about."""

    noun: str
    """"card", "board" or "row"."""
    colour: str
    box: Box
    """In pixels of the picture (for a clip: of each frame it is visible in)."""
    detail_px: float
    """Height in pixels of the finest detail a question asks for: the glyph, or a dot."""
    glyph: str = ""
    dots: tuple[Dot, ...] = ()
    frames: tuple[int, ...] = ()
    """1-based frames it is visible in; empty in a still picture."""

    @property
    def name(self) -> str:
        return f"the {self.colour} {self.noun}"


@dataclass(frozen=True)
class Scene:
    """A painted picture or clip with the things that questions can be about."""

    media: Picture | Video
    things: tuple[Thing, ...]
