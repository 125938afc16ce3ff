"""Rules of writing: the old file or the new one, whole lines, no litter; what is refused is one line."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from disk import full_disk
from pixelreasoner.core.errors import CheckpointError, ConfigError, RecordError
from pixelreasoner.core.files import (
    LineFile,
    check_outputs,
    check_writable,
    left_name,
    remove_folder,
    remove_left,
    replacing,
    write_text,
    writing,
)

ROOT = Path(__file__).parents[2]
KILLED = """
import sys
from pathlib import Path
from benchmarks.killing import DiskPoints
from pixelreasoner.core.files import LineFile, write_text
folder = Path(sys.argv[1])
points = DiskPoints(folder, int(sys.argv[2]) or None)
points.install()
write_text(folder / "config.toml", "new\\n" * 1000)
with LineFile.open(folder / "lines.jsonl") as lines:
    lines.append(b'{"step": 1}\\n')
    lines.append(b'{"step": 2}\\n')
    lines.sync()
print(points.count)
"""


def writer(folder: Path, kill_at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(kill_at)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
    )  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_kill_at_every_point_leaves_the_old_file_or_the_new_one_and_whole_lines_but_the_last(
    tmp_path: Path,
):
    (tmp_path / "whole").mkdir()
    points = int(writer(tmp_path / "whole", 0).stdout)
    assert points >= 7, "open, fsync, rename, fsync of the folder; open, two lines, fsync"
    for kill_at in range(1, points + 1):
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        (folder / "config.toml").write_text("old\n" * 1000)
        assert writer(folder, kill_at).returncode == -9
        assert (folder / "config.toml").read_text() in ("old\n" * 1000, "new\n" * 1000)
        if (folder / "lines.jsonl").exists():
            *whole, last = (folder / "lines.jsonl").read_bytes().split(b"\n")
            assert whole == [b'{"step": 1}', b'{"step": 2}'][: len(whole)]
            assert b'{"step": 2}'.startswith(last[:8])
        # The next writer of the name takes away what was left.
        write_text(folder / "config.toml", "next")
        assert set(names(folder)) <= {"config.toml", "lines.jsonl"}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_text(tmp_path / "a", "old")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(RecordError, match=r"a cannot be written \(no\)"):
        write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_an_error_of_the_block_is_its_own_and_leaves_nothing(tmp_path: Path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        raise FileNotFoundError("the block's")
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_is_one_line_and_nothing_is_left_that_keeps_it_full(tmp_path: Path):
    write_text(tmp_path / "a", "old")
    with full_disk(4096), pytest.raises(CheckpointError, match=r"disk is full.*free some space") as e:
        write_text(tmp_path / "a", "x" * 100_000, CheckpointError)
    assert "\n" not in str(e.value)
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]
    write_text(tmp_path / "a", "x" * 100_000)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path):
    line = b"x" * 999 + b"\n"
    with LineFile.open(tmp_path / "a") as lines:
        lines.append(line)
        lines.append(line)
        with full_disk(2500), pytest.raises(RecordError, match="disk is full"):
            lines.append(line)
        assert (tmp_path / "a").read_bytes() == line * 2
        lines.append(line)
    assert (tmp_path / "a").read_bytes() == line * 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_device_without_room_is_the_same_error():
    with LineFile.open(Path("/dev/full")) as lines, pytest.raises(RecordError, match="disk is full"):
        lines.append(b"{}\n")


def test_what_libraries_raise_in_place_of_an_oserror_is_understood(tmp_path: Path):
    """torch raises RuntimeError after the OSError; safetensors and tokenizers write the number."""

    def as_torch_does() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904 - as torch does

    with pytest.raises(CheckpointError, match="disk is full"), writing(tmp_path, CheckpointError):
        as_torch_does()
    text = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(CheckpointError, match="disk is full"), writing(tmp_path, CheckpointError):
        raise Exception(text)
    with pytest.raises(RuntimeError, match="a bug"), writing(tmp_path):
        raise RuntimeError("a bug stays one")


def test_what_a_living_writer_has_open_stays(tmp_path: Path):
    dead = left_name(tmp_path / "b")
    dead.write_text("of a killed writer")
    mine = tmp_path / ".not-ours.part"
    mine.write_text("")
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
        remove_left(tmp_path)
    assert names(tmp_path) == [".not-ours.part", "a"]
    assert (tmp_path / "a").read_text() == "new"


def test_a_folder_that_was_renamed_away_gets_its_name_back(tmp_path: Path):
    """Where names cannot be exchanged, a kill may come between the two renames."""
    old, half = left_name(tmp_path / "model", "old"), left_name(tmp_path / "model")
    for folder in (old, half):
        folder.mkdir()
    (old / "weights").write_text("old")
    remove_left(tmp_path)
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "old"
    left_name(tmp_path / "model", "old").mkdir()
    remove_left(tmp_path)
    assert names(tmp_path) == ["model"]
    remove_folder(tmp_path / "model")
    assert names(tmp_path) == []


def test_a_place_is_tried_without_leaving_anything(tmp_path: Path):
    check_writable(tmp_path / "new" / "a.html")
    assert names(tmp_path / "new") == []
    (tmp_path / "plain").touch()
    with pytest.raises(RecordError, match=r"plain.a\.html cannot be written"):
        check_writable(tmp_path / "plain" / "a.html")
    with pytest.raises(RecordError, match="cannot be written"):
        check_writable(tmp_path / "new")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_text(tmp_path / "plain" / "a", "", ConfigError)


def test_two_outputs_are_not_the_same_file(tmp_path: Path):
    check_outputs({"--json": tmp_path / "a.json", "--html": tmp_path / "a.html", "--text": None})
    with pytest.raises(
        RecordError, match=r"--json and --html are both .*a.json; give each a file of its own"
    ):
        check_outputs({"--json": tmp_path / "a.json", "--html": tmp_path / "x" / ".." / "a.json"})
    with pytest.raises(RecordError, match="cannot be written"):
        check_outputs({"--json": tmp_path})
    assert list(tmp_path.iterdir()) == []
