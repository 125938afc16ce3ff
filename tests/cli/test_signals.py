"""Ctrl-C and SIGTERM, given to real processes: the exit code, and never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

COMMAND = """
import signal, sys, time
from types import ModuleType
from pixelreasoner.cli.signals import Interrupts
Interrupts().install()
from pixelreasoner.cli import main as cli

def work():
    {work}

cli.COMMANDS["runs"] = work
sys.exit(cli.main(["runs"]))
"""
WAITS = "print('ready', flush=True); time.sleep(60)"
SLOW_MODULE = "print('ready', flush=True)\nimport time\ntime.sleep(60)\n"


def started(tmp_path: Path, work: str) -> subprocess.Popen[str]:
    (tmp_path / "slow_module.py").write_text(SLOW_MODULE)
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND.replace("{work}", work)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{tmp_path}"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=30)
    return process.returncode, said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_its_code(tmp_path, number, code):
    process = started(tmp_path, WAITS)
    process.send_signal(number)
    assert ended(process) == (code, "Interrupted.\n")


def test_a_signal_while_a_module_is_imported_ends_at_once(tmp_path):
    """Raising within an import leaves half a module, and libraries that take it for another error."""
    process = started(tmp_path, "import slow_module")
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "Interrupted.\n")


def test_a_second_ctrl_c_ends_what_cleans_up_after_the_first(tmp_path):
    work = "\n    ".join((
        "try:", f"    {WAITS}", "finally:", "    print('cleaning up', flush=True); time.sleep(60)",
    ))  # fmt: skip
    process = started(tmp_path, work)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "cleaning up\n"
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "Interrupted.\n")


def test_a_signal_within_a_finalizer_is_not_lost(tmp_path):
    """There Python prints the exception, traceback and all, and goes on."""
    work = "\n    ".join((
        "class Final:", "    def __del__(self):", f"        {WAITS}",
        "Final()", "print('went on', flush=True)",
    ))  # fmt: skip
    process = started(tmp_path, work)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "Interrupted.\n")


def test_an_ignored_signal_stays_ignored(tmp_path):
    """As of a background job of a shell, or under nohup."""
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" + COMMAND.replace(
        "{work}", "signal.raise_signal(signal.SIGINT); print('went on')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_the_command_is_the_one_that_handles_them(tmp_path):
    """`python -m pixelreasoner` and the installed command begin in the same function."""
    text = (ROOT / "pyproject.toml").read_text()
    assert 'pixelreasoner = "pixelreasoner.__main__:run"' in text
