"""Results that wait for an earlier one: kept over a kill, read once, gone at the end."""

from __future__ import annotations

from pathlib import Path

from pixelreasoner.core.files import left_name, write_text
from pixelreasoner.core.waiting import Waiting, clear


def waiting(folder: Path, done: int = 0) -> Waiting[str]:
    return Waiting(folder, done=done, write=write_text, read=Path.read_text)


def test_another_process_finds_what_waits_after_what_is_done(tmp_path: Path):
    folder = tmp_path / "waiting"
    first = waiting(folder)
    for number in (3, 7, 12):
        first.put(number, f"result {number}")
    left_name(first.path(8)).write_text("half")
    again = waiting(folder, done=4)
    assert [n for n in range(20) if n in again] == [7, 12]
    assert len(again) == 2
    assert again.get(12) == "result 12"
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]


def test_what_is_dropped_is_gone_for_good(tmp_path: Path):
    first = waiting(tmp_path / "waiting")
    first.put(1, "a")
    first.drop(1)
    assert 1 not in first
    assert 1 not in waiting(tmp_path / "waiting")
    clear(tmp_path / "waiting")
    assert not (tmp_path / "waiting").exists()
    clear(tmp_path / "waiting")
