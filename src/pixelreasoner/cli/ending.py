"""The last lines of a command: what it made, where, and the command that comes next, ready to be copied."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.recipe import find_recipe
from pixelreasoner.core.run_folder import CONFIG_FILE


@dataclass(frozen=True)
class NextStage:
    """The stage that takes a run's result."""

    command: str
    key: str
    """Of its recipe, which names the result."""
    result: str
    """The file or folder of the run that it takes."""


@dataclass(frozen=True)
class Result:
    """What the run of a recipe leaves in its folder."""

    made: Mapping[str, str] = field(default_factory=dict[str, str])
    """What it is -> the file or folder."""
    look: str | None = None
    """A command that shows it; `{out}` is the folder."""
    next: NextStage | None = None


def say_done(made: Mapping[str, Path], commands: Mapping[str, str] | None = None) -> None:
    """Print what was made and what may be done with it, on stderr as everything about a run's progress.

    Args:
        made: what it is -> where it is; what is not there is left out. A page comes with its address.
        commands: what for -> the arguments of `pixelreasoner`, as a shell reads them.
    """
    from rich.text import Text

    from pixelreasoner.core.terminal import TerminalConsole

    there = {what: path for what, path in made.items() if path.exists()}
    lines = [(f"{what}:", str(path)) for what, path in there.items()]
    lines += [("Open:", path.resolve().as_uri()) for path in there.values() if path.suffix == ".html"]
    lines += [(f"{what}:", f"pixelreasoner {command}") for what, command in (commands or {}).items()]
    width = max((len(what) for what, _ in lines), default=0)
    console = TerminalConsole(stderr=True)
    for what, text in lines:
        line = Text.assemble((f"{what:{width}} ", "bold"), text)
        console.print(line, soft_wrap=True, highlight=False)


def say_result(command: str, result: Result, recipe: Path, out: Path) -> None:
    """Print what the run of a recipe made, and what comes next."""
    commands: dict[str, str] = {}
    if result.look is not None:
        commands["Look"] = result.look.format(out=shlex.quote(str(out)))
    if result.next is not None and (following := next_command(command, result.next, recipe, out)):
        commands["Next"] = following
    say_done({what: out / name for what, name in result.made.items()}, commands)


def next_command(command: str, stage: NextStage, recipe: Path, out: Path) -> str | None:
    """The next stage on this run's result: with the recipe beside this one, and values that it lacks.

    None where there is no such recipe: which settings a model needs is the user's to say.
    """
    following = _beside(recipe, command, stage.command)
    if following is None:
        return None
    mine, theirs = (_table(name) for name in (recipe, following))
    words = [stage.command, str(following)]
    value = str(out / stage.result)
    if _value(theirs, stage.key) != value:
        words.append(f"{stage.key}={value}")
    default = theirs.get("out")
    moved = _value(mine, "out") != str(out) or default is None
    folder = _free(out.with_name(stage.command) if moved else Path(str(default)))
    if str(folder) != default:
        words += ["--out", str(folder)]
    return shlex.join(words)


def _beside(recipe: Path, command: str, following: str) -> Path | None:
    """`nano/rl` for `nano/sft`, `mine-rl.toml` for `mine-sft.toml`, where there is one."""
    name, found = re.subn(rf"(?<![A-Za-z]){command}(?![A-Za-z])", following, recipe.name)
    if recipe.is_dir() or not found:
        return None
    path = recipe.with_name(name)
    try:
        find_recipe(path)
    except ConfigError:
        return None
    return path


def _table(recipe: Path) -> dict[str, Any]:
    return tomllib.loads(find_recipe(recipe).read_text(encoding="utf-8"))


def _value(table: Any, key: str) -> Any:
    for name in key.split("."):
        table = table.get(name) if isinstance(table, Mapping) else None
    return table


def _free(folder: Path) -> Path:
    """The folder, or one beside it that holds no run yet."""
    taken, number = folder, 2
    while (taken / CONFIG_FILE).exists():
        taken, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return taken
