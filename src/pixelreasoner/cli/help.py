"""What `--help` prints: the commands in groups, or all about one of them."""

from __future__ import annotations

import io
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress

import tyro

from pixelreasoner.cli.recipe_commands import RECIPE_COMMANDS

Command = Callable[..., None]

DESCRIPTION = "Vision-language models that reason in pixel space: crop, look again, answer."
GROUPS = {
    "Try it": ("demo", "ask", "doctor"),
    "The stages, each with a recipe": ("synth", "sft", "rl", "eval", "pretrain"),
    "Recipes and data": ("recipes", "tasks", "overlap", "convert", "render"),
    "What runs left": ("runs", "plot", "show", "compare", "export"),
    "Experiments": ("evidence", "ablations"),
}
OPTIONS = """\
Options of all commands:
  -h, --help   what the command does, and all its options
  --debug      show the traceback of an error, and others' warnings
  --version    the version
"""


def parse(name: str, command: Command, args: Sequence[str]) -> None:
    """Run a command with its arguments, as tyro reads them.

    Raises:
        SystemExit: with 2, where something is wrong with the arguments, which tyro has said; with 0 after
            `--help`.
    """
    config = (tyro.conf.FlagCreatePairsOff,)
    tyro.cli(command, prog=f"pixelreasoner {name}", args=list(args), config=config)


def help_text(commands: Mapping[str, Command]) -> str:
    """What `pixelreasoner --help` prints: a line for each command, the first sentence of its docstring."""
    lines = ["usage: pixelreasoner COMMAND ...", "", DESCRIPTION]
    for title, names in GROUPS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {name:<10} {(commands[name].__doc__ or '').partition('.')[0]}." for name in names]
    return "\n".join([*lines, "", OPTIONS])


def command_help(name: str, command: Command) -> str:
    """What `pixelreasoner NAME --help` prints, no wider than the terminal."""
    width = shutil.get_terminal_size().columns
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        parse(name, command, ["--help"])
    # tyro fits its boxes to the terminal, and leaves the lines above them as long as they are.
    lines = [part for line in printed.getvalue().splitlines() for part in _fitted(line, width)]
    text = "\n".join([*lines, "", OPTIONS])
    if name in RECIPE_COMMANDS:
        from pixelreasoner.cli.recipe_reference import keys_text, recorded_keys

        text += "\n" + keys_text(recorded_keys(name), width)
    return text


def _fitted(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = "    " if line.startswith("usage:") else ""
    return textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False)
