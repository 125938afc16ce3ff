"""`pixelreasoner eval`: accuracy, RaPR and failed operations of a checkpoint."""

from __future__ import annotations

from pixelreasoner.cli.recipes import Out, Overrides, Recipe, resolve


def evaluate(recipe: Recipe, overrides: Overrides = (), *, out: Out = None, resume: bool = False) -> None:
    """Evaluate a checkpoint on held-out tasks.

    Args:
        recipe: A TOML file, or the name of a shipped recipe.
        overrides: Values to change, as key=value or section.key=value.
        out: The folder the results go to, in place of the recipe's.
        resume: Keep what an interrupted run has written and add the rest.
    """
    from pixelreasoner.evals.run import EvalConfig, run

    run(resolve(EvalConfig, recipe, overrides, out), resume=resume)
