"""The commands that run a recipe: one table, from a command to its configuration and its run function."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.recipe import find_recipe, load_recipe

Recipe = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RECIPE.toml")]
Overrides = Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[KEY=VALUE ...]")]
Out = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]
OPTIONS = ("--out", "--resume", "--help")
"""Of every command with a recipe."""
C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class RecipeCommand:
    """A command `pixelreasoner NAME RECIPE.toml [KEY=VALUE ...] [--out DIR] [--resume]`."""

    module: str
    """Holds the configuration's class and `run(config, *, resume)`; imported when the command is given."""
    config: str
    """Name of the class."""
    summary: str
    """What `--help` says."""


RECIPE_COMMANDS = {
    "synth": RecipeCommand(
        "pixelreasoner.synth.run", "SynthConfig", "Synthesise trajectories for the warm start."
    ),
    "sft": RecipeCommand(
        "pixelreasoner.train.sft", "SFTConfig", "Warm-start instruction tuning on synthesised trajectories."
    ),
    "rl": RecipeCommand(
        "pixelreasoner.train.rl",
        "RLConfig",
        "Curiosity-driven reinforcement learning on top of a warm start.",
    ),
    "eval": RecipeCommand(
        "pixelreasoner.evals.run", "EvalConfig", "Evaluate a checkpoint on held-out tasks."
    ),
    "pretrain": RecipeCommand(
        "pixelreasoner.nano.pretrain",
        "PretrainConfig",
        "Build the embedded checkpoint: a small vision-language model that can see and answer.",
    ),
}


def recipe_command(command: RecipeCommand) -> Callable[..., None]:
    """The function that tyro turns into the command."""

    def run(recipe: Recipe, overrides: Overrides = (), *, out: Out = None, resume: bool = False) -> None:
        members: dict[str, Any] = vars(importlib.import_module(command.module))
        members["run"](resolve(members[command.config], recipe, overrides, out), resume=resume)

    run.__doc__ = f"""{command.summary}

    Args:
        recipe: A TOML file, or the name of a shipped recipe.
        overrides: Values to change, as key=value or section.key=value.
        out: The folder of the results, in place of the recipe's.
        resume: Go on where the run in that folder was interrupted.
    """
    return run


def overrides_first(args: Sequence[str]) -> list[str]:
    """The arguments of a command with the recipe and its overrides before the options.

    tyro takes overrides in one run only; people also write them after `--out DIR`.

    Raises:
        ConfigError: an option that there is not, such as a key of the recipe with dashes before it.
    """
    first: list[str] = []
    options: list[str] = []
    for arg, after in zip(args, (*args[1:], ""), strict=True):
        _check_option(arg, after)
    for before, arg in zip(("", *args), args, strict=False):
        (options if arg.startswith("-") or before == "--out" else first).append(arg)
    return first + options


def _check_option(arg: str, after: str) -> None:
    """Refuse `--steps 5` and `--steps=5`, which are `steps=5`."""
    option, equals, value = arg.partition("=")
    if not option.startswith("--") or option in OPTIONS:
        return
    if not equals:
        value = "VALUE" if not after or after.startswith("--") or "=" in after else after
    key = option.lstrip("-").replace("-", "_")
    raise ConfigError(
        f"there is no option {option}; a key of the recipe is given without dashes: write {key}={value}"
    )


def resolve(cls: type[C], recipe: Path, overrides: Sequence[str], out: Path | None) -> C:
    """The configuration a command line describes; `--out` is the override `out=...`.

    Raises:
        ConfigError: the recipe is not there, or something in it or in an override is wrong.
    """
    # Quoted, so that a folder named 7 stays a name; a JSON string is a TOML string.
    extra = () if out is None else (f"out={json.dumps(str(out), ensure_ascii=False)}",)
    return load_recipe(cls, find_recipe(recipe), (*overrides, *extra))
