"""PixelWorld: procedural tasks whose answers are legible only after the right operation."""

from pixelreasoner.tasks.pixelworld.world import KINDS, PixelWorld, WorldConfig

__all__ = ["KINDS", "PixelWorld", "WorldConfig"]
