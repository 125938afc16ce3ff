"""Options of single commands with a recipe."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.cli.recipe_commands import RECIPE_COMMANDS, overrides_first

RECIPE = 'out = "{out}"\nn = 2\n'


@pytest.mark.filterwarnings("ignore")  # Ray's own, where it is installed
def test_synth_takes_the_address_of_a_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe = tmp_path / "synth.toml"
    recipe.write_text(RECIPE.format(out=tmp_path / "out"))
    assert main(["synth", "--ray", "http://head", str(recipe), "n=3"]) == 2
    said = capsys.readouterr().err
    if find_spec("ray") is None:
        assert "A run on a Ray cluster needs the package 'ray'" in said
        assert "pip install 'pixelreasoner[ray]'" in said
    else:
        assert "error: --ray http://head: give HOST:PORT, auto or local" in said
    assert not (tmp_path / "out" / "waiting").exists()


def test_the_address_stays_with_its_option():
    options = RECIPE_COMMANDS["synth"].options
    assert overrides_first(["--ray", "auto", "r.toml", "n=3"], options) == ["r.toml", "n=3", "--ray", "auto"]


def test_other_commands_run_on_no_cluster(capsys: pytest.CaptureFixture[str]):
    assert main(["eval", "r.toml", "--ray", "auto"]) == 2
    assert "there is no option --ray" in capsys.readouterr().err
