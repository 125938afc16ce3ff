"""What the commands that run a recipe share: their arguments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from pixelreasoner.core.config import Config
from pixelreasoner.core.recipe import find_recipe, load_recipe

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
