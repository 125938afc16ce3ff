"""Every recipe key is in the help of its command and on the page, with a meaning; both follow the code."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from pixelreasoner.cli import recipe_reference
from pixelreasoner.cli.main import main
from pixelreasoner.cli.recipe_commands import RECIPE_COMMANDS, config_class
from pixelreasoner.cli.recipe_reference import keys_json, keys_of, keys_text, page, recorded_keys
from pixelreasoner.core.config import Config
from pixelreasoner.core.recipe import find_recipe, load_recipe, recipe_names
from pixelreasoner.core.recipe_keys import RecipeKey, recipe_keys

REMEDY = "run `make docs`, which writes docs/recipes.md and cli/recipe_keys.json anew"


@pytest.fixture(scope="module")
def keys() -> dict[str, list[RecipeKey]]:
    return {command: keys_of(command) for command in RECIPE_COMMANDS}


def test_every_key_has_a_meaning(keys):
    without = [
        f"{command}: {key.name}" for command, those in keys.items() for key in those if not key.meaning
    ]
    assert without == [], "write a sentence beneath the field"


def test_the_page_and_the_recorded_keys_are_up_to_date(keys):
    tables = {command: [asdict(key) for key in those] for command, those in keys.items()}
    assert recipe_reference.KEYS_FILE.read_text() == keys_json(tables), REMEDY
    assert recipe_reference.PAGE.read_text() == page(keys), REMEDY


@pytest.mark.parametrize("command", RECIPE_COMMANDS)
@pytest.mark.parametrize("width", [80, 160])
def test_help_lists_every_key_and_fits(command, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    shown = {line.strip().split()[0] for line in lines if line.strip()}
    for key in recorded_keys(command):
        assert key.name in shown or f"[{key.name}]" in shown


@pytest.mark.parametrize("name", recipe_names())
def test_every_key_of_a_shipped_recipe_is_a_listed_one(name):
    command = name.rpartition("/")[2]
    config = load_recipe(config_class(RECIPE_COMMANDS[command]), find_recipe(Path(name)))
    listed = {key.name for key in recorded_keys(command)}
    assert set(type(config).model_fields) <= listed


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(Config):
    share: float = Field(default=0.25, ge=0, lt=1)
    """Of all."""
    parts: tuple["Inner", ...] = ()
    """Within it."""


class Outer(Config):
    out: Path
    """The folder."""
    inner: Inner = Inner(share=0.5)
    """A section with a default of its own."""
    n: int | None = Field(default=None, ge=1)
    """Long
    meaning."""
    size: int = 2**31
    colour: Colour = Colour.RED
    way: Literal["up", "down"] = "up"
    by_name: dict[str, Inner] = Field(default_factory=lambda: {"a": Inner()})
    betas: tuple[float, float] = (0.9, 0.99)
    maybe: Inner | None = None


def test_keys_are_read_from_types_bounds_defaults_and_docstrings():
    found = {key.name: (key.default, key.values, key.required, key.meaning) for key in recipe_keys(Outer)}
    assert found == {
        "out": ("", "path", True, "The folder."),
        "n": ("", "integer, ≥ 1", False, "Long meaning."),
        "size": ("2_147_483_648", "integer", False, ""),
        "colour": ('"red"', '"red" or "blue"', False, ""),
        "way": ('"up"', '"up" or "down"', False, ""),
        "betas": ("[0.9, 0.99]", "2 values: number", False, ""),
        "inner": ("", "section", False, "A section with a default of its own."),
        "inner.share": ("0.5", "number, ≥ 0, < 1", False, "Of all."),
        "inner.parts": ("[]", "list of tables", False, "Within it."),
        "by_name": ("{ a = { share = 0.25 } }", "table of sections", False, ""),
        "by_name.NAME.share": ("0.25", "number, ≥ 0, < 1", False, "Of all."),
        "by_name.NAME.parts": ("[]", "list of tables", False, "Within it."),
        "maybe": ("", "section", False, ""),
        "maybe.share": ("0.25", "number, ≥ 0, < 1", False, "Of all."),
        "maybe.parts": ("[]", "list of tables", False, "Within it."),
    }


def test_a_terminal_shows_key_default_values_and_the_meaning_below():
    keys = [
        RecipeKey("steps", "integer, ≥ 1", "480", False, "Of the run."),
        RecipeKey("out", "path", "", True, "The folder."),
        RecipeKey("n", "integer", "", False, "Tasks; None takes all."),
        RecipeKey("optim", "section", "", False, "The optimiser."),
        RecipeKey("optim.lr", "number", "1e-06", False, "Peak " + "word " * 20),
    ]
    lines = keys_text(keys, 60).splitlines()
    assert lines[2:11] == [
        "  steps = 480  (integer, ≥ 1)",
        "      Of the run.",
        "  out  (path, required)",
        "      The folder.",
        "  n  (integer, not set)",
        "      Tasks; None takes all.",
        "",
        "  [optim]",
        "      The optimiser.",
    ]
    assert max(map(len, lines)) <= 60


def test_both_files_are_written_where_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe_reference, "KEYS_FILE", tmp_path / "keys.json")
    monkeypatch.setattr(recipe_reference, "PAGE", tmp_path / "recipes.md")
    recipe_reference.write()
    assert set(json.loads((tmp_path / "keys.json").read_text())) == set(RECIPE_COMMANDS)
    assert "## rl" in (tmp_path / "recipes.md").read_text()
