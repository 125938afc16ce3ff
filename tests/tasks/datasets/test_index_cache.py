"""What was found in a file is found once, and again when the file was changed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.tasks.datasets.index_cache import kept


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("PIXELREASONER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Finder:
    """Finds the length of a file, and counts how often."""

    def __init__(self, path: Path) -> None:
        self.path, self.times = path, 0

    def __call__(self):
        self.times += 1
        return {"length": np.array([self.path.stat().st_size])}

    def kept(self, what: str = "length") -> int:
        return int(kept(self.path, what, self)["length"][0])


@pytest.fixture
def finder(tmp_path: Path, cache: Path) -> Finder:
    path = tmp_path / "large.tar"
    path.write_bytes(b"12345")
    return Finder(path)


def test_a_file_is_looked_through_once_for_each_thing(finder: Finder):
    assert [finder.kept(), finder.kept(), finder.times] == [5, 5, 1]
    finder.kept("another thing")
    assert finder.times == 2


@pytest.mark.parametrize("content", [b"123456", b"54321"], ids=["its size", "its time"])
def test_a_changed_file_is_looked_through_again(finder: Finder, content: bytes):
    finder.kept()
    before = finder.path.stat().st_mtime_ns
    finder.path.write_bytes(content)
    os.utime(finder.path, ns=(before + 10**9, before + 10**9))
    assert finder.kept() == len(content)
    assert finder.times == 2


def test_a_damaged_record_is_made_again(finder: Finder, cache: Path):
    finder.kept()
    (record,) = (cache / "indexes").iterdir()
    for content in (b"", b"no archive", record.read_bytes()[:-40]):
        record.write_bytes(content)
        assert finder.kept() == 5
    assert finder.times == 4
    finder.kept()
    assert finder.times == 4


def test_without_a_place_for_records_the_file_is_looked_through_each_time(finder: Finder, cache: Path):
    cache.write_text("a file where the folder should be")
    assert [finder.kept(), finder.kept(), finder.times] == [5, 5, 2]


def test_a_file_that_is_not_there_is_named(finder: Finder):
    finder.path.unlink()
    with pytest.raises(RecordError, match=r"large\.tar cannot be read \(No such file"):
        finder.kept()
