"""Which run a folder holds and how it stands: `run.json`, and a lock for as long as a process works on it.

The system drops the lock of a process that ends, however it ends: a run that was killed is not taken for one
that goes on. And a second process that wants to write into the folder is refused.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import IO, Any, Literal

from pixelreasoner.core.errors import ConfigError
from pixelreasoner.core.files import write_text, writing
from pixelreasoner.core.locks import TRIES, Lock, try_lock
from pixelreasoner.core.run_folder import MODEL_FOLDER, SUMMARY_FILE

logger = logging.getLogger(__name__)
STATUS_FILE = "run.json"
LOCK_FILE = ".lock"
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
def locked(folder: Path) -> Generator[None]:
    """Hold the lock of a run's folder, which is made when missing; the lock ends with the process.

    Raises:
        ConfigError: another process holds it, or the folder cannot be written to.
    """
    with writing(folder, ConfigError):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_FILE).open("a+b", buffering=0)
    with file:
        match try_lock(file.fileno(), tries=TRIES):
            case Lock.TAKEN:
                raise ConfigError(
                    f"{_holder(file)} is working on {folder}; wait for it, stop it, or choose another --out"
                )
            case Lock.UNSUPPORTED:
                logger.warning(
                    f"the file system of {folder} has no locks: give no second command for this folder while "
                    f"this one runs"
                )
            case Lock.HELD:
                with suppress(OSError):  # who holds it is a courtesy; a full disk has no room for it
                    file.truncate(0)
                    file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield


def _holder(file: IO[bytes]) -> str:
    """What the holder of a lock wrote into its file."""
    file.seek(0)
    return file.read(200).decode(errors="replace") or "another process"


@contextmanager
def running(folder: Path, kind: str, total: int) -> Generator[None]:
    """Write into the `run.json` of a run's folder what runs there and how it ended.

    The caller holds the folder's lock.

    Raises:
        ConfigError: it cannot be written.
    """
    status = RunStatus(kind, total, started=time.time())
    _write(folder, status)
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        with suppress(ConfigError):  # the run ends for another reason already
            _write(folder, replace(status, ended=time.time()))
        raise
    except BaseException as e:
        text = f"{type(e).__name__}: {e}"[:ERROR_CHARACTERS]
        with suppress(ConfigError):
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
    try:
        with (folder / LOCK_FILE).open("rb") as file:
            return try_lock(file.fileno(), shared=True) is Lock.TAKEN
    except OSError:  # there is none, or it is somebody else's
        return False


def _write(folder: Path, status: RunStatus) -> None:
    write_text(folder / STATUS_FILE, json.dumps(asdict(status)) + "\n", ConfigError)
