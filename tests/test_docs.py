"""What the documentation shows is true: its recipes load."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from pixelreasoner.cli.recipe_commands import RECIPE_COMMANDS, resolve

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```toml\n# (?P<command>\w+)\.toml\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = [
    (page.name, match["command"], match["text"])
    for page in PAGES
    for match in BLOCK.finditer(page.read_text(encoding="utf-8"))
    if match["command"] in RECIPE_COMMANDS
]


@pytest.mark.parametrize(("page", "command", "text"), RECIPES)
def test_a_recipe_of_the_documentation_loads(page: str, command: str, text: str, tmp_path: Path):
    recipe = tmp_path / f"{command}.toml"
    recipe.write_text(text, encoding="utf-8")
    entry = RECIPE_COMMANDS[command]
    config = resolve(command, getattr(importlib.import_module(entry.module), entry.config), recipe, (), None)
    assert config.out == Path(f"runs/mine/{command}"), page


def test_the_page_of_one_s_own_model_shows_all_stages():
    assert {(page, command) for page, command, _ in RECIPES} >= {
        ("your-gpu.md", command) for command in ("synth", "sft", "rl")
    }
