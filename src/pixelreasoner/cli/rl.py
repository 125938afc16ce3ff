"""`pixelreasoner rl`: curiosity-driven RL."""

from __future__ import annotations

from pixelreasoner.cli.recipes import Out, Overrides, Recipe, resolve


def rl(recipe: Recipe, overrides: Overrides = (), *, out: Out = None, resume: bool = False) -> None:
    """Curiosity-driven reinforcement learning on top of a warm start.

    Args:
        recipe: A TOML file, or the name of a shipped recipe.
        overrides: Values to change, as key=value or section.key=value.
        out: The folder of the run, in place of the recipe's.
        resume: Go on where the run in that folder was interrupted.
    """
    from pixelreasoner.train.rl import RLConfig, run

    run(resolve(RLConfig, recipe, overrides, out), resume=resume)
