"""The command `pixelreasoner`: reads the command line, then imports what the command needs.

Exit codes: 0 done, 1 an overlap found (`overlap --strict`), 2 a mistake of the user's (one line on stderr, no
traceback), 130 interrupted, 143 terminated (SIGTERM).
"""

from __future__ import annotations

import difflib
import logging
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence

from rich.text import Text

from pixelreasoner import __version__
from pixelreasoner.cli.ablations import ablations
from pixelreasoner.cli.ask import ask
from pixelreasoner.cli.compare import compare
from pixelreasoner.cli.convert import convert
from pixelreasoner.cli.demo import demo
from pixelreasoner.cli.doctor import doctor
from pixelreasoner.cli.evidence import evidence
from pixelreasoner.cli.export import export
from pixelreasoner.cli.help import command_help, help_text, parse
from pixelreasoner.cli.overlap import overlap
from pixelreasoner.cli.plot import plot
from pixelreasoner.cli.recipe_commands import (
    EVIDENCE_OPTIONS,
    RECIPE_COMMANDS,
    overrides_first,
    recipe_command,
)
from pixelreasoner.cli.recipes import recipes
from pixelreasoner.cli.render import render
from pixelreasoner.cli.runs import runs
from pixelreasoner.cli.show import show
from pixelreasoner.cli.signals import exit_code
from pixelreasoner.cli.tasks import tasks
from pixelreasoner.core.errors import ConfigError, PixelReasonerError
from pixelreasoner.core.terminal import TerminalConsole, visible
from pixelreasoner.core.torchrun import is_main_process

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "ablations": ablations,
    "ask": ask,
    "recipes": recipes,
    "runs": runs,
    "plot": plot,
    "show": show,
    "compare": compare,
    "export": export,
    "render": render,
    "convert": convert,
    "tasks": tasks,
    "overlap": overlap,
    "doctor": doctor,
    "evidence": evidence,
    **{name: recipe_command(name, command) for name, command in RECIPE_COMMANDS.items()},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["--version"]:
        sys.stdout.write(f"pixelreasoner {__version__}\n")
        return 0
    debug = "--debug" in args
    args = [a for a in args if a != "--debug"]
    if not args or args[0] in ("-h", "--help", "help"):
        sys.stdout.write(help_text(COMMANDS))
        return 0
    _show_log()
    if argv is None and not debug:
        _quiet_others()
    try:
        _run(args[0], args[1:])
    except PixelReasonerError as e:
        if debug:
            raise
        _say(f"error: {e}", "red")
        return 2
    except KeyboardInterrupt as e:
        _say(f"Interrupted.{_resuming(args)}", "yellow")
        return exit_code(e)
    return 0


def _run(name: str, args: list[str]) -> None:
    """Run one command.

    Raises:
        ConfigError: there is none of that name.
        SystemExit: with 2, where tyro has said what is wrong with the arguments.
    """
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=3)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(f"there is no command '{name}'.{meant} `pixelreasoner --help` lists the commands")
    if "-h" in args or "--help" in args:
        sys.stdout.write(command_help(name, COMMANDS[name]))
        return
    if name in RECIPE_COMMANDS:
        args = overrides_first(args, RECIPE_COMMANDS[name].options)
    elif name == "evidence":
        args = overrides_first(args, EVIDENCE_OPTIONS)
    parse(name, COMMANDS[name], args)


def _resuming(args: Sequence[str]) -> str:
    """The command that goes on with an interrupted run."""
    if args[0] not in (*RECIPE_COMMANDS, "demo", "ablations", "evidence"):
        return ""
    resume = ("--resume",) if args[0] in RECIPE_COMMANDS and "--resume" not in args else ()
    return f" Go on with: {shlex.join(['pixelreasoner', *args, *resume])}"


QUIETED = (
    "transformers", "torch", "torch.utils._pytree", "torchao", "huggingface_hub", "peft", "matplotlib",
)  # fmt: skip
"""Loggers of packages whose lines say nothing to the user of a command."""


def _quiet_others() -> None:
    """Keep warnings and log lines of other packages off the terminal; `--debug` lets them pass."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    # torch gives its own logger a level when it is imported, and leaves those below it alone.
    for name in QUIETED:
        logging.getLogger(name).setLevel(logging.ERROR)


class _Stderr(logging.Handler):
    """Writes to what stderr is at that moment: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{visible(self.format(record))}\n")


def _show_log() -> None:
    """Show what the package logs, such as the attention kernel in use; under torchrun, once."""
    log = logging.getLogger("pixelreasoner")
    if not log.handlers:
        log.addHandler(_Stderr())
        log.setLevel(logging.INFO if is_main_process() else logging.WARNING)
    # Of damaged metadata, two lines each; the pixels are fine.
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _say(text: str, style: str) -> None:
    """Say it once: processes of one run raise a user's error together."""
    if is_main_process():
        TerminalConsole(stderr=True).print(Text(visible(text), style=style), soft_wrap=True)
