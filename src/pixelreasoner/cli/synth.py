"""`pixelreasoner synth`: trajectories written by a teacher."""

from __future__ import annotations

from pixelreasoner.cli.recipes import Out, Overrides, Recipe, resolve


def synth(recipe: Recipe, overrides: Overrides = (), *, out: Out = None, resume: bool = False) -> None:
    """Synthesise trajectories for the warm start.

    Args:
        recipe: A TOML file, or the name of a shipped recipe.
        overrides: Values to change, as key=value or section.key=value.
        out: The folder the results go to, in place of the recipe's.
        resume: Keep what an interrupted run has written and add the rest.
    """
    from pixelreasoner.synth.run import SynthConfig, run

    run(resolve(SynthConfig, recipe, overrides, out), resume=resume)
