"""The commands that run a recipe: one table, from a command to its configuration and its run function."""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from pixelreasoner.cli.ending import NextStage, Result, say_result
from pixelreasoner.cli.options import option
from pixelreasoner.core.config import Config
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.recipe import find_recipe, load_recipe
from pixelreasoner.core.run_folder import CONFIG_FILE
from pixelreasoner.core.run_status import read_status
from pixelreasoner.core.torchrun import is_main_process, number_of_processes

Recipe = Annotated[tyro.conf.Positional[Path], option("RECIPE")]
Overrides = Annotated[tyro.conf.Positional[tuple[str, ...]], option("[KEY=VALUE ...]")]
Out = Annotated[Path | None, option("DIR")]
Resume = Annotated[bool, option()]
DryRun = Annotated[bool, option()]
Ray = Annotated[str | None, option("ADDRESS")]
OPTIONS = ("--out", "--resume", "--help")
"""Of every command with a recipe."""
DRY_RUN = "--dry-run"
"""Of those that can say beforehand what they will take."""
RAY = "--ray"
"""Of those that many machines can work on."""
EVIDENCE_OPTIONS = ("--out", "--base", "--help")
"""Of `evidence`, which takes a recipe of `eval`."""
WITH_VALUE = ("--out", "--base", RAY)
"""Options that are followed by their value."""
C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class RecipeCommand:
    """A command `pixelreasoner NAME RECIPE [KEY=VALUE ...] [--out DIR] [--resume]`."""

    module: str
    """Holds the configuration's class and `run(config, *, resume)`; imported when the command is given."""
    config: str
    """Name of the class."""
    summary: str
    """What `--help` says."""
    result: Result
    """What its run leaves, and what comes next."""
    many_processes: bool = False
    """Whether the processes that torchrun starts work on it together."""
    dry_run: str = ""
    """The module with `dry_run(config)`, which shows what a run will take; empty where there is none. The
    `run` of a command that has one takes `ray` too, the address of a cluster."""

    @property
    def options(self) -> tuple[str, ...]:
        """The options of the command."""
        return (*OPTIONS, *([DRY_RUN, RAY] if self.dry_run else []))


RECIPE_COMMANDS = {
    "synth": RecipeCommand(
        "pixelreasoner.synth.run",
        "SynthConfig",
        "Synthesise trajectories for the warm start.",
        Result(
            {"Trajectories": "trajectories.jsonl"},
            look="show {out} --html {out}/trajectories.html",
            next=NextStage("sft", "data", "trajectories.jsonl"),
        ),
        dry_run="pixelreasoner.synth.dry_run",
    ),
    "sft": RecipeCommand(
        "pixelreasoner.train.sft",
        "SFTConfig",
        "Warm-start instruction tuning on synthesised trajectories.",
        Result(
            {"Model": "model", "Metrics": "metrics.jsonl"},
            look="plot {out}",
            next=NextStage("rl", "model.checkpoint", "model"),
        ),
        many_processes=True,
    ),
    "rl": RecipeCommand(
        "pixelreasoner.train.rl",
        "RLConfig",
        "Curiosity-driven reinforcement learning on top of a warm start.",
        Result(
            {"Model": "model", "Metrics": "metrics.jsonl", "Rollouts": "rollouts"},
            look="plot {out}",
            next=NextStage("eval", "model.checkpoint", "model"),
        ),
        many_processes=True,
    ),
    "eval": RecipeCommand(
        "pixelreasoner.evals.run",
        "EvalConfig",
        "Evaluate a checkpoint on held-out tasks.",
        Result(
            {"Summary": "summary.json", "Trajectories": "trajectories.jsonl"},
            look="show {out} --html {out}/trajectories.html",
        ),
    ),
    "pretrain": RecipeCommand(
        "pixelreasoner.nano.pretrain",
        "PretrainConfig",
        "Build the embedded model from nothing: it can see and answer.",
        Result(
            {"Model": "model", "Metrics": "metrics.jsonl", "What it has learned": "learned.json"},
            look="plot {out}",
            next=NextStage("synth", "checkpoint", "model"),
        ),
    ),
}


def recipe_command(name: str, command: RecipeCommand) -> Callable[..., None]:
    """The function that tyro turns into the command."""

    def run(recipe: Recipe, overrides: Overrides = (), *, out: Out = None, resume: Resume = False) -> None:
        run_with(recipe, overrides, out, resume=resume)

    def run_with(recipe: Path, overrides: Sequence[str], out: Path | None, **options: Any) -> None:
        if number_of_processes() > 1 and not command.many_processes:
            raise ConfigError(f"`{name}` runs in one process; give the command without torchrun")
        config = resolve(name, config_class(command), recipe, overrides, out)
        vars(importlib.import_module(command.module))["run"](config, **options)
        if is_main_process():
            say_result(name, command.result, recipe, folder_of(config))

    def run_or_estimate(
        recipe: Recipe,
        overrides: Overrides = (),
        *,
        out: Out = None,
        resume: Resume = False,
        ray: Ray = None,
        dry_run: DryRun = False,
    ) -> None:
        if not dry_run:
            run_with(recipe, overrides, out, resume=resume, ray=ray)
            return
        config = resolve(name, config_class(command), recipe, overrides, out)
        vars(importlib.import_module(command.dry_run))["dry_run"](config)

    about = f"""{command.summary}

    Args:
        recipe: A TOML file, the name of a shipped recipe (`pixelreasoner recipes` lists them), or the folder
            of a run: its recipe, and with --resume the run itself.
        overrides: Values to change, as key=value or section.key=value.
        out: The folder of the results, in place of the recipe's.
        resume: Go on where the run in that folder was interrupted.
    """
    if not command.dry_run:
        run.__doc__ = about
        return run
    run_or_estimate.__doc__ = f"""{about}    ray: Work on the machines of a Ray cluster: HOST:PORT of its
            head, auto for the one that this machine is part of, or local for a new one on this machine.
        dry_run: Say what it would ask, take and cost, and do nothing.
    """
    return run_or_estimate


def config_class(command: RecipeCommand) -> type[Config]:
    """The class of a command's configuration; imports its module."""
    members: dict[str, Any] = vars(importlib.import_module(command.module))
    return members[command.config]


def folder_of(config: Config) -> Path:
    """Where the results of a recipe go."""
    return dict(config)["out"]


def overrides_first(args: Sequence[str], options: Sequence[str] = OPTIONS) -> list[str]:
    """The arguments of a command with the recipe and its overrides before the options.

    tyro takes overrides in one run only; people also write them after `--out DIR`.

    Args:
        args: of the command.
        options: those that it has.

    Raises:
        ConfigError: an option that there is not, such as a key of the recipe with dashes before it.
    """
    first: list[str] = []
    last: list[str] = []
    for arg, after in zip(args, (*args[1:], ""), strict=True):
        _check_option(arg, after, options)
    for before, arg in zip(("", *args), args, strict=False):
        (last if arg.startswith("-") or before in WITH_VALUE else first).append(arg)
    return first + last


def _check_option(arg: str, after: str, options: Sequence[str]) -> None:
    """Refuse `--steps 5` and `--steps=5`, which are `steps=5`."""
    option, equals, value = arg.partition("=")
    if not option.startswith("--") or option in options:
        return
    if not equals:
        value = "VALUE" if not after or after.startswith("--") or "=" in after else after
    if near := difflib.get_close_matches(option, options, n=1, cutoff=0.9):
        raise ConfigError(f"there is no option {option}. Did you mean {near[0]}?")
    key = option.lstrip("-").replace("-", "_")
    raise ConfigError(
        f"there is no option {option}; a key of the recipe is given without dashes: write {key}={value}"
    )


def resolve(command: str, cls: type[C], recipe: Path, overrides: Sequence[str], out: Path | None) -> C:
    """The configuration a command line describes; `--out` is the override `out=...`.

    Of the folder of a run it is the recipe of that run, and the results go to the folder where it is now.

    Raises:
        ConfigError: the recipe is not there, or something in it or in an override is wrong.
    """
    if recipe.is_dir():
        out = recipe if out is None else out
        recipe = _recipe_of_run(command, recipe)
    # Quoted, so that a folder named 7 stays a name; a JSON string is a TOML string.
    extra = () if out is None else (f"out={json.dumps(str(out), ensure_ascii=False)}",)
    return load_recipe(cls, find_recipe(recipe), (*overrides, *extra))


def _recipe_of_run(command: str, folder: Path) -> Path:
    """The resolved recipe of the run in a folder.

    Raises:
        ConfigError: the folder holds no run, or one of another command.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ConfigError(f"{folder} holds no run (no {CONFIG_FILE}); `pixelreasoner runs` lists the runs")
    status = read_status(folder)
    if status is not None and status.kind != command:
        raise ConfigError(
            f"{folder} holds a run of `{status.kind}`; write: pixelreasoner {status.kind} {folder}"
        )
    return path
