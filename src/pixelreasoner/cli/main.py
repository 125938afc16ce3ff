"""The command `pixelreasoner`: reads the command line, then imports what the command needs.

Exit codes: 0 done, 2 a mistake of the user's (one line on stderr, no traceback), 130 interrupted,
143 terminated (SIGTERM).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import tyro
from rich.console import Console
from rich.text import Text

from pixelreasoner import __version__
from pixelreasoner.cli.ablations import ablations
from pixelreasoner.cli.ask import ask
from pixelreasoner.cli.demo import demo
from pixelreasoner.cli.plot import plot
from pixelreasoner.cli.recipe_commands import RECIPE_COMMANDS, overrides_first, recipe_command
from pixelreasoner.cli.render import render
from pixelreasoner.cli.runs import runs
from pixelreasoner.cli.show import show
from pixelreasoner.cli.signals import exit_code
from pixelreasoner.cli.tasks import tasks
from pixelreasoner.core.errors import PixelReasonerError

COMMANDS = {
    "demo": demo,
    "ablations": ablations,
    "ask": ask,
    "runs": runs,
    "plot": plot,
    "show": show,
    "render": render,
    "tasks": tasks,
    **{name: recipe_command(command) for name, command in RECIPE_COMMANDS.items()},
}
DESCRIPTION = """Vision-language models that reason in pixel space: crop, select frames, look again.

Options of all commands: --debug shows the traceback of an error, --version the version."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args == ["--version"]:
        sys.stdout.write(f"pixelreasoner {__version__}\n")
        return 0
    _show_log()
    debug = "--debug" in args
    args = [a for a in args if a != "--debug"]
    if args and args[0] in RECIPE_COMMANDS:
        args[1:] = overrides_first(args[1:])
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="pixelreasoner",
            description=DESCRIPTION,
            args=args or ["--help"],
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except PixelReasonerError as e:
        if debug:
            raise
        _say(f"error: {e}", "red")
        return 2
    except KeyboardInterrupt as e:
        _say(f"Interrupted.{_how_to_go_on(args[:1])}", "yellow")
        return exit_code(e)
    return 0


def _how_to_go_on(command: Sequence[str]) -> str:
    if command and command[0] in RECIPE_COMMANDS:
        return " The same command with --resume goes on."
    return " The same command goes on." if command and command[0] in ("demo", "ablations") else ""


class _Stderr(logging.Handler):
    """Writes to what stderr is at that moment: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


def _show_log() -> None:
    """Show what the package logs, such as the attention kernel in use."""
    log = logging.getLogger("pixelreasoner")
    if not log.handlers:
        log.addHandler(_Stderr())
        log.setLevel(logging.INFO)


def _say(text: str, style: str) -> None:
    Console(stderr=True).print(Text(text, style=style), soft_wrap=True)
