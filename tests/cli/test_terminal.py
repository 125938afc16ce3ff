"""What a run shows on a terminal of a set width: our lines only, and the step on each bar."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

OURS = (
    r"[⠁-⣿] loading \S+",
    r"(synth|sft|eval|reading data) .*\d+/\d+  .*left.*",
    r"\d+/\d+  (\d\d:\d\d|\?) left",
    r"shared-prefix attention: .*",
    r" *held-out tasks, % \(where needed\)",
    r"[┏┡└┃│].*",
    r"(Trajectories|Model|Metrics|Summary|Look|Next): +\S.*",
    r"cpu, \w+, heads of width \d+",  # the line above where it is too long for the terminal
)


def on_terminal(folder: Path, width: int, *args: str) -> list[str]:
    """The lines that a command draws on a pseudo-terminal, each once, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "pixelreasoner", *args],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment,
    )  # fmt: skip
    os.close(theirs)
    drawn = b""
    while True:
        try:
            read = os.read(ours, 65_536)
        except OSError:  # the other end is closed
            break
        if not read:
            break
        drawn += read
    os.close(ours)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    return list(dict.fromkeys(line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()))


@pytest.mark.slow
@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_terminal_shows_our_lines_only_and_every_bar_has_the_step(tmp_path: Path, width: int):
    runs = (
        ("synth", "nano/synth", "n=4", "workers=1", "--out", "s"),
        ("sft", "nano/sft", "steps=1", "batch_size=2", "data=s/trajectories.jsonl", "--out", "w"),
        ("eval", "nano/eval", "model.checkpoint=w/model", "n=2", "--out", "e"),
    )
    for args in runs:
        lines = on_terminal(tmp_path, width, *args)
        strange = [line for line in lines if not any(re.fullmatch(ours, line) for ours in OURS)]
        assert strange == []
        bars = [line for line in lines if "left" in line]
        assert bars
        assert all(re.search(r"\d+/\d+  ", line) and len(line) <= width for line in bars)
        assert any(line.startswith("Look:") for line in lines)
