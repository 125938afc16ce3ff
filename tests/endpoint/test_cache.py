"""Replies on disk: there once they are put, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pixelreasoner.core.errors import RecordError
from pixelreasoner.endpoint.cache import CachedReply, MemoryCache, SqliteCache
from pixelreasoner.endpoint.ledger import Spending

REPLY = CachedReply("Grüße \U0001f600", "stop", 100, 10, 0.25, "m")
LATE = CachedReply("", "length", 50, 5, 0.5, "m", estimated=True)


@pytest.fixture(params=["memory", "sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "memory":
        yield MemoryCache()
    else:
        with SqliteCache(tmp_path / "new" / "replies.sqlite") as found:
            yield found


def test_a_reply_comes_back_and_what_it_cost_is_counted(cache: MemoryCache | SqliteCache):
    assert cache.get("a") is None
    assert cache.totals() == {}
    cache.put("a", REPLY, "write")
    cache.put("b", LATE, "write")
    cache.put("c", REPLY, "judge")
    assert (cache.get("a"), cache.get("b"), cache.get("c"), cache.get("d")) == (REPLY, LATE, REPLY, None)
    assert cache.totals() == {
        "write": Spending(2, 150, 15, 0.75, estimated=1),
        "judge": Spending(1, 100, 10, 0.25),
    }


def test_another_process_goes_on(tmp_path: Path):
    with SqliteCache(tmp_path / "c") as first:
        first.put("a", REPLY, "write")
        with SqliteCache(tmp_path / "c") as second:  # while it is open
            assert second.get("a") == REPLY
            second.put("b", LATE, "write")
        assert first.get("b") == LATE
        assert first.totals()["write"].requests == 2


def test_half_a_character_is_replaced(tmp_path: Path):
    with SqliteCache(tmp_path / "c") as cache:
        cache.put("a", CachedReply("a\ud800b", "stop", 1, 1, 0.0, "m"), "write")
        assert cache.get("a") == CachedReply("a?b", "stop", 1, 1, 0.0, "m")


def test_threads_may_share_it(tmp_path: Path):
    with SqliteCache(tmp_path / "c") as cache:

        def puts(first: int) -> None:
            for i in range(first, first + 25):
                cache.put(str(i), REPLY, "write")

        threads = [threading.Thread(target=puts, args=(25 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(cache.get(str(i)) == REPLY for i in range(100))
        assert cache.totals()["write"].requests == 100


WRITER = """
import sys
from pathlib import Path
from pixelreasoner.endpoint.cache import CachedReply, SqliteCache
cache = SqliteCache(Path(sys.argv[1]))
for i in range(10**9):
    cache.put(f"{sys.argv[2]}/{i}", CachedReply("x" * 3000, "stop", 100, 10, 0.5, "m"), "write")
    sys.stdout.write(f"{i}\\n")
    sys.stdout.flush()
"""


def test_a_kill_at_any_moment_loses_no_reply_that_was_put(tmp_path: Path):
    path = tmp_path / "c"
    n_put = 0
    for kill, after in enumerate((1, 40, 150)):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(kill)], stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        )  # fmt: skip
        assert writer.stdout is not None
        for _ in range(after):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        said = after + len(writer.stdout.read().splitlines())
        writer.wait()
        writer.stdout.close()
        with SqliteCache(path) as cache:
            assert all(cache.get(f"{kill}/{i}") is not None for i in range(said))
            found = cache.totals()["write"]
            # One may have been put and not said.
            assert found.requests - n_put in (said, said + 1)
            assert cache.get(f"{kill}/{found.requests - n_put}") is None
            assert (found.prompt_tokens, found.usd) == (100 * found.requests, 0.5 * found.requests)
            n_put = found.requests


def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path):
    path = tmp_path / "c"
    path.write_bytes(b"no database at all, but some bytes " * 100)
    with pytest.raises(RecordError, match=rf"{path} is damaged .* move it away"):
        SqliteCache(path)
    assert path.read_bytes().startswith(b"no database")


def test_damage_within_is_named_when_it_is_met(tmp_path: Path):
    path = tmp_path / "c"
    with SqliteCache(path) as cache:
        for i in range(200):
            cache.put(str(i), CachedReply("x" * 3000, "stop", 1, 1, 0.0, "m"), "write")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xee" * (size - 4096))
    with pytest.raises(RecordError, match="is damaged"), SqliteCache(path) as cache:
        cache.get("5")


def test_another_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "other.sqlite"
    other = sqlite3.connect(path)
    other.execute("create table mine (a)")
    other.commit()
    other.close()
    with pytest.raises(RecordError, match="is no cache of replies"):
        SqliteCache(path)


def test_a_place_that_cannot_be_written_to(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="file"):
        SqliteCache(tmp_path / "file" / "c")
    with pytest.raises(RecordError, match="cannot be used"):
        SqliteCache(tmp_path)


def test_a_full_disk_is_an_error_and_what_was_put_stays(tmp_path: Path):
    with SqliteCache(tmp_path / "c") as cache:
        cache.put("a", REPLY, "write")
        cache._file.execute("pragma max_page_count = 8")
        with pytest.raises(RecordError, match=r"cannot be used [(]database or disk is full[)]; see that"):
            cache.put("b", CachedReply("x" * 100_000, "stop", 1, 1, 0.0, "m"), "write")
        assert cache.get("b") is None
        assert cache.totals()["write"].requests == 1
        cache._file.execute("pragma max_page_count = 100000")
        cache.put("b", LATE, "write")
        assert cache.get("b") == LATE
