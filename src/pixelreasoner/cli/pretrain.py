"""`pixelreasoner pretrain`: train a base model from random weights."""

from __future__ import annotations

from pixelreasoner.cli.recipes import Out, Overrides, Recipe, resolve


def pretrain(recipe: Recipe, overrides: Overrides = (), *, out: Out = None, resume: bool = False) -> None:
    """Build the embedded checkpoint: a small vision-language model that can see and answer.

    Args:
        recipe: A TOML file, or the name of a shipped recipe.
        overrides: Values to change, as key=value or section.key=value.
        out: The folder of the run, in place of the recipe's.
        resume: Go on where the run in that folder was interrupted.
    """
    from pixelreasoner.nano.pretrain import PretrainConfig, run

    run(resolve(PretrainConfig, recipe, overrides, out), resume=resume)
