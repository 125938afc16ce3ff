"""Which run a folder holds and how it stands: `run.json`, and a lock for as long as a process works on it.

The system drops the lock of a process that ends, however it ends: a run that was killed is not taken for one
that goes on. And a second process that wants to write into the folder is refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.run_folder import (
    MODEL_FOLDER,
    SUMMARY_FILE,
    write_text,
)

try:
    import fcntl
except ImportError:  # Windows: runs are not locked there
    fcntl = None

STATUS_FILE = "run.json"
LOCK_FILE = ".lock"
LOCK_TRIES = 5
"""Somebody who asks whether a folder is locked holds the lock for a moment himself."""
ERROR_CHARACTERS = 500

RunState = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class RunStatus:
    """What `run.json` says."""

    kind: str
    """The command: "rl", "sft", "synth", "eval", "pretrain"."""
    total: int
    """Steps of the whole run; of a synthesis or an evaluation, trajectories."""
    started: float
    """Unix seconds; of the last time it was started or resumed."""
    ended: float | None = None
    """None while it runs, and after a kill."""
    completed: bool = False
    """Whether it came to its end."""
    error: str = ""
    """Why it failed."""


@contextmanager
def running(folder: Path, kind: str, total: int) -> Generator[None]:
    """Lock a run's folder, and write into its `run.json` what runs there and how it ended.

    Raises:
        ConfigError: another process is working on the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        status = RunStatus(kind, total, started=time.time())
        _write(folder, status)
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit):
            _write(folder, replace(status, ended=time.time()))
            raise
        except BaseException as e:
            text = f"{type(e).__name__}: {e}"[:ERROR_CHARACTERS]
            _write(folder, replace(status, ended=time.time(), error=text))
            raise
        _write(folder, replace(status, ended=time.time(), completed=True))


def read_status(folder: Path) -> RunStatus | None:
    """What is known of the run in a folder; None where nothing is, as of runs of earlier versions."""
    try:
        data: dict[str, Any] = json.loads((folder / STATUS_FILE).read_text(encoding="utf-8"))
        return RunStatus(**{f.name: data[f.name] for f in fields(RunStatus) if f.name in data})
    except (OSError, ValueError, TypeError):
        return None


def state_of(folder: Path) -> RunState:
    """How the run in a folder stands.

    finished: its result is there; failed: an error ended it; stopped: it was interrupted or killed, and goes
    on with --resume.
    """
    if is_locked(folder):
        return "running"
    status = read_status(folder)
    if status is not None and status.error:
        return "failed"
    if (status is not None and status.completed) or (folder / MODEL_FOLDER).exists():
        return "finished"
    return "finished" if (folder / SUMMARY_FILE).exists() else "stopped"


def is_locked(folder: Path) -> bool:
    """Whether a process is working on the run in a folder."""
    path = folder / LOCK_FILE
    if fcntl is None or not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False  # a file system without locks
    return False


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    with (folder / LOCK_FILE).open("ab") as file:
        if fcntl is not None and not _lock(file.fileno()):
            raise ConfigError(
                f"another process is working on {folder}; wait for it, stop it, or choose another --out"
            )
        yield


def _lock(descriptor: int) -> bool:
    """Whether the lock was free; on a file system without locks, it always is."""
    assert fcntl is not None
    for attempt in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05 if attempt < LOCK_TRIES - 1 else 0)
        except OSError:
            return True
    return False


def _write(folder: Path, status: RunStatus) -> None:
    write_text(folder / STATUS_FILE, json.dumps(asdict(status)) + "\n")
