"""What the commands that run a recipe share: their arguments, and where recipes are found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.recipe import load_recipe

Recipe = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RECIPE.toml")]
Overrides = Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[KEY=VALUE ...]")]
Out = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]
C = TypeVar("C", bound=Config)


def resolve(cls: type[C], recipe: Path, overrides: Sequence[str], out: Path | None) -> C:
    """The configuration a command line describes; `--out` is the override `out=...`.

    Raises:
        ConfigError: the recipe is not there, or something in it or in an override is wrong.
    """
    # Quoted, so that a folder named 7 stays a name; a JSON string is a TOML string.
    extra = () if out is None else (f"out={json.dumps(str(out), ensure_ascii=False)}",)
    return load_recipe(cls, find_recipe(recipe), (*overrides, *extra))


def find_recipe(name: Path) -> Path:
    """The file `name`, or the shipped recipe of that name, with or without its ".toml".

    Raises:
        ConfigError: there is neither; the message lists the shipped recipes.
    """
    shipped = shipped_recipes()
    for path in (name, shipped / name, shipped / f"{name}.toml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(str(p.relative_to(shipped).with_suffix("")) for p in shipped.rglob("*.toml")))
    raise ConfigError(
        f"{name}: no such recipe; give a file, or one of the shipped ones: {known or 'none found'}"
    )


def shipped_recipes() -> Path:
    """The folder of the recipes: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parents[1] / "recipes"
