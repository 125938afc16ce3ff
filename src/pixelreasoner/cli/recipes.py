"""`pixelreasoner recipes`: the recipes that ship with the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from pixelreasoner.cli.options import option


def recipes(name: Annotated[tyro.conf.Positional[Path | None], option("[NAME]")] = None) -> None:
    """List the shipped recipes, or print one.

    Args:
        name: Print this recipe instead; `> mine.toml` after it makes a copy to change.
    """
    from pixelreasoner.core.recipe import find_recipe, recipe_names

    if name is not None:
        sys.stdout.write(find_recipe(name).read_text(encoding="utf-8"))
        return

    from rich.padding import Padding
    from rich.text import Text

    from pixelreasoner.cli.ending import say_done
    from pixelreasoner.cli.recipe_commands import RECIPE_COMMANDS
    from pixelreasoner.core.terminal import TerminalConsole

    console = TerminalConsole()
    stages = [*RECIPE_COMMANDS]
    for recipe in sorted(recipe_names(), key=lambda name: stages.index(command_of(name))):
        # A command to be copied, in one line; beneath it what it is for.
        console.print(
            f"pixelreasoner {command_of(recipe)} {recipe}", markup=False, highlight=False, soft_wrap=True
        )
        console.print(Padding(Text(first_comment(find_recipe(Path(recipe)))), (0, 0, 0, 4)))
    say_done({}, {"Copy one": "recipes nano/rl > mine.toml"})


def command_of(recipe: str) -> str:
    """The command that runs a shipped recipe: the last part of its name begins with it."""
    return recipe.rpartition("/")[2].partition("-")[0]


def first_comment(path: Path) -> str:
    """What a recipe says of itself: the first sentence of the comment that it begins with."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words.append(line.lstrip("# ").strip())
    return f"{' '.join(words).partition('. ')[0].rstrip('.')}."
