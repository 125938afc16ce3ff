"""Rules of a run's status: what a folder says about its run while it goes on, after its end, after a kill."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from disk import full_disk
from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.run_status import is_locked, locked, read_status, running, state_of

SRC = Path(__file__).parents[2] / "src"
WORK = """
import sys
from pathlib import Path
from pixelreasoner.core.run_status import locked, running
with locked(Path(sys.argv[1])), running(Path(sys.argv[1]), "rl", 10):
    print("running", flush=True)
    sys.stdin.read()
"""


def test_a_run_is_running_and_then_finished(tmp_path):
    with locked(tmp_path), running(tmp_path, "rl", 40):
        assert state_of(tmp_path) == "running"
        status = read_status(tmp_path)
        assert status is not None
        assert (status.kind, status.total, status.ended) == ("rl", 40, None)
    assert state_of(tmp_path) == "finished"
    assert not is_locked(tmp_path)


def test_an_interrupted_run_is_stopped_and_a_failed_one_says_why(tmp_path):
    with pytest.raises(KeyboardInterrupt), running(tmp_path, "sft", 4):
        raise KeyboardInterrupt
    assert state_of(tmp_path) == "stopped"
    with pytest.raises(MemoryError), running(tmp_path, "sft", 4):
        raise MemoryError("no more")
    assert state_of(tmp_path) == "failed"
    status = read_status(tmp_path)
    assert status is not None
    assert status.error == "MemoryError: no more"
    with running(tmp_path, "sft", 4):
        pass
    assert state_of(tmp_path) == "finished", "resumed, and gone well"


@pytest.mark.skipif(sys.platform == "win32", reason="runs are not locked there")
def test_another_process_is_kept_out_until_it_is_killed(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(SRC)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        assert state_of(tmp_path) == "running"
        named = rf"process {process.pid} on {socket.gethostname()} is working on"
        with pytest.raises(ConfigError, match=named), locked(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert state_of(tmp_path) == "stopped"
    with locked(tmp_path), running(tmp_path, "rl", 10):
        pass


def test_where_locks_are_not_supported_it_is_said_and_the_run_goes_on(tmp_path, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("pixelreasoner.core.locks.fcntl.flock", no_locks)
    with locked(tmp_path), running(tmp_path, "rl", 1):
        pass
    assert state_of(tmp_path) == "finished"
    assert "has no locks" in caplog.text


def test_a_reader_needs_no_lock(tmp_path):
    with locked(tmp_path), running(tmp_path, "rl", 1):
        assert read_status(tmp_path) is not None
        assert state_of(tmp_path) == "running"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_on_a_full_disk_a_run_ends_with_its_own_error(tmp_path):
    """The status that cannot be written does not take its place; a start is refused in one line."""
    with locked(tmp_path):
        with pytest.raises(MemoryError), running(tmp_path, "rl", 1), full_disk(0):
            raise MemoryError("no more")
        with full_disk(0), pytest.raises(ConfigError, match="disk is full"), running(tmp_path, "rl", 1):
            pass
    with full_disk(0), locked(tmp_path):
        pass  # a lock needs no room
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "run.json"]


def test_a_folder_of_an_earlier_version_is_judged_by_its_results(tmp_path):
    assert read_status(tmp_path) is None
    assert state_of(tmp_path) == "stopped"
    (tmp_path / "model").mkdir()
    assert state_of(tmp_path) == "finished"
