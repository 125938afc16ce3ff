"""Help that fits a terminal, in a second; mistakes that name what is near."""

import subprocess
import sys
from pathlib import Path

import pytest

from pixelreasoner.cli.help import GROUPS, OPTIONS
from pixelreasoner.cli.main import COMMANDS, main
from pixelreasoner.core.recipe import find_recipe, recipe_names


def test_every_command_is_in_one_group_with_a_line_that_fits(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COMMANDS)
    for name in grouped:
        [line] = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.endswith(".")


@pytest.mark.parametrize("args", [[], ["-h"], ["help"]])
def test_help_is_found_where_people_look(args, capsys):
    assert main(args) == 0
    assert "Options of all commands" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", [60, 80])
def test_the_help_of_a_command_fits_and_names_the_options_of_all(name, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: pixelreasoner {name} ")
    assert OPTIONS in out
    assert max(len(line) for line in out.replace(OPTIONS, "").splitlines()) <= width
    assert "(default: None)" not in out
    assert "(default: False)" not in out


@pytest.mark.parametrize(
    ("args", "near"),
    [
        (["evla"], "Did you mean eval?"),
        (["evaluate"], "Did you mean eval?"),
        (["shwo", "x"], "Did you mean show?"),
        (["rl", "nano/r1"], "Did you mean 'nano/rl'"),
        (["sft", "nano/sftt"], "Did you mean 'nano/sft'"),
        (["recipes", "nanosynth"], "Did you mean 'nano/synth'"),
        (["xyz"], "`pixelreasoner --help` lists the commands"),
    ],
)
def test_a_name_that_is_nearly_right_is_named(args, near, capsys):
    assert main(args) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert near in err


def test_an_option_that_is_nearly_right_is_named_once(capsys):
    assert main(["rl", "nano/rl", "--resum"]) == 2
    said = "".join(capsys.readouterr())
    assert said.count("--resume") == 1


def test_recipes_are_listed_with_their_commands_and_printed_to_be_copied(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["recipes"]) == 0
    said = capsys.readouterr()
    assert max(map(len, said.out.splitlines())) <= 80
    for name in recipe_names():
        assert f"pixelreasoner {name.rpartition('/')[2]} {name}\n" in said.out
    assert "Curiosity-driven RL of the embedded model." in said.out
    assert "> mine.toml" in said.err
    assert main(["recipes", "nano/rl"]) == 0
    said = capsys.readouterr()
    assert said.out == find_recipe(Path("nano/rl")).read_text()
    assert said.err == ""


@pytest.mark.parametrize("args", [["--help"], ["rl", "--help"], ["recipes"]])
def test_help_takes_less_than_a_second_and_imports_nothing_heavy(args):
    code = (
        "import sys, time\n"
        "from pixelreasoner.cli.main import main\n"
        f"assert main({args}) == 0\n"
        "heavy = {'torch', 'transformers', 'PIL', 'jinja2', 'scipy'} & set(sys.modules)\n"
        "sys.stderr.write(f'{sorted(heavy)} {time.process_time():.2f}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, _, seconds = done.stderr.splitlines()[-1].rpartition(" ")
    assert heavy == "[]"
    assert float(seconds) < 1.0
