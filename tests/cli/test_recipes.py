"""Where recipes are found."""

from pathlib import Path

import pytest

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.recipe import find_recipe, shipped_recipes


def test_a_file_is_taken_as_it_is(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text("")
    assert find_recipe(path) == path


@pytest.mark.parametrize("path", sorted(shipped_recipes().rglob("*.toml")), ids=lambda p: p.stem)
def test_a_shipped_recipe_is_found_by_its_name(path: Path):
    name = path.relative_to(shipped_recipes())
    assert find_recipe(name) == path
    assert find_recipe(name.with_suffix("")) == path


def test_an_unknown_name_is_the_users_error():
    with pytest.raises(
        ConfigError, match="nothing/like/it: no such recipe; give a file, or one of the shipped ones"
    ):
        find_recipe(Path("nothing/like/it"))
