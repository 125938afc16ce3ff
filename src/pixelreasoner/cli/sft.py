"""`pixelreasoner sft`: the warm start."""

from __future__ import annotations

from pixelreasoner.cli.recipes import Out, Overrides, Recipe, resolve


def sft(recipe: Recipe, overrides: Overrides = (), *, out: Out = None, resume: bool = False) -> None:
    """Warm-start instruction tuning on synthesised trajectories.

    Args:
        recipe: A TOML file, or the name of a shipped recipe.
        overrides: Values to change, as key=value or section.key=value.
        out: The folder of the run, in place of the recipe's.
        resume: Go on where the run in that folder was interrupted.
    """
    from pixelreasoner.train.sft import SFTConfig, run

    run(resolve(SFTConfig, recipe, overrides, out), resume=resume)
