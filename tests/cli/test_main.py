"""Rules of the command line: exit codes, one-line errors, what each command hands over."""

import logging
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pixelreasoner.cli.main import main
from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import CheckpointError


class FakeConfig(Config):
    out: Path = Path("runs/rl")
    steps: int = 10


def fake_trainer(
    monkeypatch: pytest.MonkeyPatch, run, name: str = "train.rl", config: str = "RLConfig"
) -> None:
    """Put `run` where the command finds its trainer."""
    module = ModuleType(f"pixelreasoner.{name}")
    vars(module).update({config: FakeConfig, "run": run})
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text("steps = 20\n")
    return path


@pytest.mark.parametrize(
    ("command", "name", "config"),
    [
        ("rl", "train.rl", "RLConfig"),
        ("sft", "train.sft", "SFTConfig"),
        ("pretrain", "nano.pretrain", "PretrainConfig"),
    ],
)
def test_a_trainer_gets_the_recipe_the_overrides_and_out(monkeypatch, recipe, command, name, config):
    calls = []
    fake_trainer(monkeypatch, lambda c, *, resume: calls.append((c, resume)), name, config)
    assert main([command, str(recipe), "steps=30", "--out", "7", "--resume"]) == 0
    assert main([command, str(recipe)]) == 0
    assert calls == [(FakeConfig(out=Path("7"), steps=30), True), (FakeConfig(steps=20), False)]


@pytest.mark.parametrize(
    ("command", "name", "config"),
    [("synth", "synth.run", "SynthConfig"), ("eval", "evals.run", "EvalConfig")],
)
def test_synth_and_eval_get_a_configuration(monkeypatch, recipe, command, name, config):
    calls = []
    fake_trainer(monkeypatch, lambda c, *, resume, ray=None: calls.append((c, resume)), name, config)
    assert main([command, str(recipe), "steps=3"]) == 0
    assert main([command, str(recipe), "--resume"]) == 0
    assert calls == [(FakeConfig(steps=3), False), (FakeConfig(steps=20), True)]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--steps", "5"], "there is no option --steps; .* write steps=5"),
        (["--steps=5"], "write steps=5"),
        (["--optim.lr", "1e-5", "--out", "x"], "write optim.lr=1e-5"),
        (["--save-every", "--resume"], "write save_every=VALUE"),
        (["--step"], "write step=VALUE"),
    ],
)
def test_a_key_with_dashes_is_told_how_it_is_written(args, words, capsys):
    assert main(["rl", "nano/rl", *args]) == 2
    error = capsys.readouterr().err
    assert re.search(words, error)
    assert error.count("\n") == 1


def test_overrides_may_stand_after_the_options(monkeypatch, recipe, tmp_path):
    calls = []
    fake_trainer(monkeypatch, lambda c, *, resume: calls.append((c.steps, c.out, resume)))
    assert main(["rl", "--resume", str(recipe), "--out", str(tmp_path / "o"), "steps=3"]) == 0
    assert main(["rl", str(recipe), "steps=3", f"--out={tmp_path / 'o'}", "--resume"]) == 0
    assert calls == [(3, tmp_path / "o", True)] * 2


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run that was started elsewhere: its recipe names the folder it had then."""
    folder = tmp_path / "moved"
    folder.mkdir()
    (folder / "config.toml").write_text('out = "runs/before"\nsteps = 20\n')
    return folder


def test_the_folder_of_a_run_stands_for_its_recipe(monkeypatch, run_folder, tmp_path):
    calls = []
    fake_trainer(monkeypatch, lambda c, *, resume: calls.append((c, resume)))
    assert main(["rl", str(run_folder), "--resume"]) == 0
    assert main(["rl", str(run_folder), "steps=30", "--out", str(tmp_path / "new")]) == 0
    assert calls == [
        (FakeConfig(out=run_folder, steps=20), True),
        (FakeConfig(out=tmp_path / "new", steps=30), False),
    ]


def test_a_folder_of_another_run_or_of_none_says_what_to_write(monkeypatch, run_folder, tmp_path, capsys):
    fake_trainer(monkeypatch, lambda c, *, resume: None)
    (run_folder / "run.json").write_text('{"kind": "sft", "total": 20, "started": 1.0}')
    assert main(["rl", str(run_folder), "--resume"]) == 2
    assert f"holds a run of `sft`; write: pixelreasoner sft {run_folder}" in capsys.readouterr().err
    assert main(["rl", str(tmp_path)]) == 2
    assert "holds no run (no config.toml)" in capsys.readouterr().err


def test_a_run_ends_with_what_is_there_and_how_to_look_at_it(monkeypatch, recipe, tmp_path, capsys):
    def run(config, *, resume):
        (config.out / "model").mkdir(parents=True)

    fake_trainer(monkeypatch, run)
    assert main(["rl", str(recipe), "--out", str(tmp_path / "a b")]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        ["Model:", str(tmp_path / "a b" / "model")],
        ["Look:", f"pixelreasoner plot '{tmp_path}/a b'"],
    ]


def test_demo_has_its_defaults(monkeypatch):
    calls = []
    module = ModuleType("pixelreasoner.nano.demo")
    vars(module)["run"] = lambda **options: calls.append(options)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert main(["demo"]) == 0
    assert main(["demo", "--seed", "3", "--photos", "mine", "--out", "x"]) == 0
    assert calls == [
        {"out": Path("runs/demo"), "seed": 0, "photos": None},
        {"out": Path("x"), "seed": 3, "photos": Path("mine")},
    ]


def test_a_users_mistake_is_one_line_and_exit_code_2(monkeypatch, recipe, capsys):
    def run(config, *, resume):
        raise CheckpointError("runs/rl holds no checkpoint; run without --resume first")

    fake_trainer(monkeypatch, run)
    assert main(["rl", str(recipe)]) == 2
    assert capsys.readouterr().err == "error: runs/rl holds no checkpoint; run without --resume first\n"
    with pytest.raises(CheckpointError):
        main(["rl", str(recipe), "--debug"])


def test_a_wrong_key_and_a_wrong_recipe_say_what_is_there(monkeypatch, recipe, capsys):
    fake_trainer(monkeypatch, lambda c, *, resume: None)
    assert main(["rl", str(recipe), "step=1"]) == 2
    assert "Did you mean 'steps'" in capsys.readouterr().err
    assert main(["rl", "nowhere/none"]) == 2
    assert "nowhere/none: no such recipe" in capsys.readouterr().err


def test_what_the_package_logs_is_shown_once(monkeypatch, recipe, capsys):
    """Such as the attention kernel in use, however many commands a process runs."""

    def run(config, *, resume):
        logging.getLogger("pixelreasoner.models").info("attention: exact chunks")

    fake_trainer(monkeypatch, run)
    main(["rl", str(recipe)])
    capsys.readouterr()
    main(["rl", str(recipe)])
    assert capsys.readouterr().err.count("attention: exact chunks") == 1


def test_a_bug_keeps_its_traceback(monkeypatch, recipe):
    fake_trainer(monkeypatch, lambda c, *, resume: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["rl", str(recipe)])


def test_an_interrupt_says_how_to_go_on(monkeypatch, recipe, capsys):
    def run(config, *, resume):
        raise KeyboardInterrupt

    fake_trainer(monkeypatch, run)
    for args in (["rl", str(recipe), "steps=3"], ["rl", str(recipe), "steps=3", "--resume"]):
        assert main(args) == 130
        said = capsys.readouterr().err
        assert said == f"Interrupted. Go on with: pixelreasoner rl {recipe} steps=3 --resume\n"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pixelreasoner 0.")


def test_an_unknown_option_is_refused():
    with pytest.raises(SystemExit) as e:
        main(["show", "x.jsonl", "--colour", "red"])
    assert e.value.code == 2


def test_a_benchmark_of_one_model_and_of_none(monkeypatch, capsys):
    """`--model` narrows the plan, and a name that is not in it is told with those that are."""
    pytest.importorskip("torch")
    from benchmarks import step
    from benchmarks.__main__ import main

    plans = []
    monkeypatch.setattr(step, "run", lambda plan: plans.append(plan) or iter(()))
    assert main(["step", "--model", "small-qwen2.5"]) == 0
    assert [(p.models, p.cases) for p in plans] == [(("small-qwen2.5",), step.PLAN.cases)]
    capsys.readouterr()
    assert main(["step", "--model", "small-qwen9"]) != 0
    assert "small-qwen3 or small-qwen2.5" in capsys.readouterr().err
