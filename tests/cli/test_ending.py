"""A command ends with what it made, where, and the next command, which can be copied as it stands."""

import shlex
from pathlib import Path

import pytest

from pixelreasoner.cli.ending import NextStage, next_command, say_done
from pixelreasoner.cli.recipe_commands import RECIPE_COMMANDS, config_class, overrides_first, resolve

RL, EVAL = NextStage("rl", "model.checkpoint", "model"), NextStage("eval", "model.checkpoint", "model")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def stage_after(command: str) -> NextStage:
    stage = RECIPE_COMMANDS[command].result.next
    assert stage is not None
    return stage


@pytest.mark.parametrize(
    ("command", "out", "following"),
    [
        ("synth", "runs/nano/synth", "sft nano/sft"),
        ("sft", "runs/nano/warm_start", "rl nano/rl"),
        ("rl", "runs/nano/rl", "eval nano/eval model.checkpoint=runs/nano/rl/model"),
        ("pretrain", "runs/nano/pretrain", "synth nano/synth checkpoint=runs/nano/pretrain/model"),
        ("synth", "mine/data", "sft nano/sft data=mine/data/trajectories.jsonl --out mine/sft"),
        ("sft", "a b/sft", "rl nano/rl 'model.checkpoint=a b/sft/model' --out 'a b/rl'"),
    ],
)
def test_the_next_stage_takes_the_result_of_this_one(command, out, following):
    assert next_command(command, stage_after(command), Path(f"nano/{command}"), Path(out)) == following


@pytest.mark.parametrize("command", ["synth", "sft", "rl", "pretrain"])
@pytest.mark.parametrize("out", ["runs/default", "else where/run"])
def test_the_next_command_is_one_that_its_stage_reads(command, out):
    """Its words make a configuration of the next stage, whose folder holds no run."""
    text = next_command(command, stage_after(command), Path(f"nano/{command}"), Path(out))
    assert text is not None
    name, recipe, *rest = overrides_first(shlex.split(text))
    folder = Path(rest.pop(rest.index("--out") + 1)) if "--out" in rest else None
    overrides = [word for word in rest if word != "--out"]
    config = resolve(name, config_class(RECIPE_COMMANDS[name]), Path(recipe), overrides, folder)
    stage = stage_after(command)
    value = dict(config)
    for part in stage.key.split("."):
        value = dict(value)[part]
    assert str(value) == str(Path(out) / stage.result)
    assert not (Path(dict(config)["out"]) / "config.toml").exists()


def test_a_folder_that_holds_a_run_is_not_proposed_again():
    for taken in ("runs/nano/rl", "runs/nano/rl-2"):
        Path(taken).mkdir(parents=True)
        (Path(taken) / "config.toml").touch()
    command = next_command("sft", RL, Path("nano/sft"), Path("runs/nano/warm_start"))
    assert command == "rl nano/rl --out runs/nano/rl-3"


def test_recipes_of_the_users_follow_one_another_by_their_names():
    for name in ("mine-sft.toml", "mine-rl.toml"):
        Path(name).write_text('out = "runs/x"\n')
    command = next_command("sft", RL, Path("mine-sft.toml"), Path("runs/x"))
    assert command == "rl mine-rl.toml model.checkpoint=runs/x/model"
    Path("runs/x").mkdir(parents=True)
    Path("runs/x/config.toml").touch()
    command = next_command("sft", RL, Path("mine-sft.toml"), Path("runs/x"))
    assert command == "rl mine-rl.toml model.checkpoint=runs/x/model --out runs/x-2"


@pytest.mark.parametrize("recipe", ["mine.toml", "url.toml", "runs/nano/rl"])
def test_where_no_recipe_follows_nothing_is_made_up(recipe):
    Path("runs/nano/rl").mkdir(parents=True)
    Path("uevaluate.toml").touch()
    assert next_command("rl", EVAL, Path(recipe), Path("runs/x")) is None


def test_what_is_not_there_is_not_named_and_a_page_has_an_address(capsys):
    Path("a b.html").touch()
    say_done({"Page": Path("a b.html"), "Model": Path("model")}, {"Look": "plot runs/x"})
    lines = capsys.readouterr().err.splitlines()
    address = Path("a b.html").resolve().as_uri()
    assert lines == ["Page: a b.html", f"Open: {address}", "Look: pixelreasoner plot runs/x"]
